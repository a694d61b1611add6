#include "transport/resolver.hpp"

#include "transport/io_runtime.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <algorithm>
#include <memory>

namespace davit::transport {

void resolve_addresses(io_runtime& io, std::string host, std::function<void(std::vector<std::string>)> done) {
  using boost::asio::ip::tcp;
  auto resolver = std::make_shared<tcp::resolver>(io.context());
  resolver->async_resolve(host, "", [resolver, done = std::move(done)](boost::system::error_code ec, const tcp::resolver::results_type& found) {
    std::vector<std::string> addresses;
    if (!ec)
      for (const auto& one : found)
        if (auto text = one.endpoint().address().to_string(); std::find(addresses.begin(), addresses.end(), text) == addresses.end())
          addresses.push_back(std::move(text));
    done(std::move(addresses));
  });
}

} // namespace davit::transport
