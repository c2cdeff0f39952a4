// SPDX-License-Identifier: GPL-3.0-or-later

import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Serves HTTP on the listening socket that is its standard input. */
public class Inherited {
    public static void main(String[] args) throws Exception {
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
