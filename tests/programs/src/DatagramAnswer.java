// SPDX-License-Identifier: GPL-3.0-or-later
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;

/** Sends each datagram back, with the size of the receive buffer that it set before bind. */
class DatagramAnswer {
    public static void main(String[] args) throws Exception {
        DatagramSocket socket = new DatagramSocket(null);
        socket.setReceiveBufferSize(23456);
        int before = socket.getReceiveBufferSize();
        socket.bind(new InetSocketAddress(80));
        byte[] room = new byte[1500];
        while (true) {
            DatagramPacket packet = new DatagramPacket(room, room.length);
            socket.receive(packet);
            String text = new String(room, 0, packet.getLength())
                + " " + (before == socket.getReceiveBufferSize());
            byte[] answer = text.getBytes();
            socket.send(new DatagramPacket(answer, answer.length, packet.getSocketAddress()));
        }
    }
}
