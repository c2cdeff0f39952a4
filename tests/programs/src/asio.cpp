// SPDX-License-Identifier: GPL-3.0-or-later
// A Boost.Asio acceptor: registers with epoll when it is opened, before its bind, and
// accepts asynchronously. Each client gets its number.
#include <boost/asio.hpp>
#include <memory>
#include <string>

using boost::asio::ip::tcp;

static void accept_next(tcp::acceptor &acceptor, int count)
{
    acceptor.async_accept([&acceptor, count](boost::system::error_code error, tcp::socket peer) {
        if (error)
            throw boost::system::system_error(error);
        boost::asio::write(peer, boost::asio::buffer("asio " + std::to_string(count) + "\n"));
        accept_next(acceptor, count + 1);
    });
}

int main()
{
    boost::asio::io_context context;
    tcp::acceptor acceptor(context);

    acceptor.open(tcp::v6());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.set_option(boost::asio::ip::v6_only(false));
    acceptor.bind(tcp::endpoint(tcp::v6(), 80));
    acceptor.listen();
    accept_next(acceptor, 1);
    context.run();
}
