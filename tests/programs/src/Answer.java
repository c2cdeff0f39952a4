// SPDX-License-Identifier: GPL-3.0-or-later
import static java.net.StandardSocketOptions.SO_RCVBUF;
import static java.net.StandardSocketOptions.SO_REUSEADDR;
import static java.net.StandardSocketOptions.SO_REUSEPORT;

import com.sun.net.httpserver.HttpServer;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Answer [HOW [PORT]]: a server of Java's own library, on every local address and port 80. HOW is
 * http, the default, which also takes another PORT; nio; datagram; or inherited.
 */
class Answer {
    public static void main(String[] args) throws Exception {
        String how = args.length > 0 ? args[0] : "http";
        switch (how) {
            case "http":
                http(args.length > 1 ? Integer.parseInt(args[1]) : 80);
                break;
            case "nio":
                nio();
                break;
            case "datagram":
                datagram();
                break;
            case "inherited":
                inherited();
                break;
            default:
                throw new IllegalArgumentException(how);
        }
    }

    /** The HTTP package of the JDK. */
    private static void http(int port) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            byte[] body = "java http".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    private static String options(ServerSocketChannel channel) throws Exception {
        return "reuseaddr=" + channel.getOption(SO_REUSEADDR)
            + " reuseport=" + channel.getOption(SO_REUSEPORT)
            + " rcvbuf=" + channel.getOption(SO_RCVBUF)
            + " blocking=" + channel.isBlocking();
    }

    /** A non-blocking channel that sets options before bind, and answers with those after. */
    private static void nio() throws Exception {
        ServerSocketChannel channel = ServerSocketChannel.open();
        channel.configureBlocking(false);
        channel.setOption(SO_REUSEADDR, true);
        channel.setOption(SO_REUSEPORT, true);
        channel.setOption(SO_RCVBUF, 12345);
        String before = options(channel);
        channel.bind(new InetSocketAddress(80), 7);
        Selector selector = Selector.open();
        channel.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            selector.selectedKeys().clear();
            try (SocketChannel peer = channel.accept()) {
                String text = "before " + before + "\nafter " + options(channel) + "\n";
                if (peer != null)
                    peer.write(ByteBuffer.wrap(text.getBytes()));
            }
        }
    }

    /** Sends each datagram back, with whether the buffer size that it set before bind is kept. */
    private static void datagram() throws Exception {
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

    /** Serves HTTP on the listening socket that is the standard input. */
    private static void inherited() throws Exception {
        ServerSocketChannel server = (ServerSocketChannel) System.inheritedChannel();
        Object uid = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        String answer = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuid " + uid;
        while (true) {
            try (SocketChannel channel = server.accept()) {
                channel.read(ByteBuffer.allocate(4096));
                channel.write(ByteBuffer.wrap(answer.getBytes(StandardCharsets.US_ASCII)));
            }
        }
    }
}
