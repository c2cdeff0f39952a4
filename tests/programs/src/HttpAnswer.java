// SPDX-License-Identifier: GPL-3.0-or-later
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** A server of the JDK's own HTTP package on every local address: HttpAnswer [PORT], else 80. */
class HttpAnswer {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 80;
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            byte[] body = "java http".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
