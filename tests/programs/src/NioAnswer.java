// SPDX-License-Identifier: GPL-3.0-or-later
import static java.net.StandardSocketOptions.SO_RCVBUF;
import static java.net.StandardSocketOptions.SO_REUSEADDR;
import static java.net.StandardSocketOptions.SO_REUSEPORT;

import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/** A non-blocking channel that sets options before bind, and answers with those after. */
class NioAnswer {
    private static String options(ServerSocketChannel channel) throws Exception {
        return "reuseaddr=" + channel.getOption(SO_REUSEADDR)
            + " reuseport=" + channel.getOption(SO_REUSEPORT)
            + " rcvbuf=" + channel.getOption(SO_RCVBUF)
            + " blocking=" + channel.isBlocking();
    }

    public static void main(String[] args) throws Exception {
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
}
