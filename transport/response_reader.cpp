#include "transport/response_reader.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/fields.hpp>

namespace davit::transport {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using beast::error_code;

struct response_reader::parser : http::basic_parser<false> {
  using text = beast::string_view;

  void on_request_impl(http::verb, text, text, int, error_code&) override {}
  void on_response_impl(int code, text, int, error_code&) override { status = code; }
  void on_field_impl(http::field, text name, text value, error_code&) override { fields.insert(name, value); }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text body, error_code&) override {
    (*sink)({body.data(), body.size()});
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override {
    (*sink)({body.data(), body.size()});
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  int status = 0;
  http::fields fields;
  std::string pending; ///< Came, and could not be read yet.
  const std::function<void(std::string_view)>* sink = nullptr;
};

response_reader::response_reader(bool no_body) : parser_(std::make_unique<parser>()) {
  parser_->eager(true);
  parser_->skip(no_body);
  parser_->body_limit(boost::none);
  parser_->header_limit(64 * 1024);
}

response_reader::response_reader(response_reader&&) noexcept = default;
response_reader::~response_reader() = default;

result<void> response_reader::feed(std::string_view bytes, const std::function<void(std::string_view)>& sink) {
  auto& p = *parser_;
  p.sink = &sink;
  std::string_view input = bytes;
  if (!p.pending.empty()) {
    p.pending.append(bytes);
    input = p.pending;
  }
  std::size_t used = 0;
  while (used < input.size() && !p.is_done()) {
    error_code ec;
    auto count = p.put(boost::asio::const_buffer{input.data() + used, input.size() - used}, ec);
    used += count;
    if (ec == http::error::need_more)
      break;
    if (ec)
      return error{engine_errc::protocol, 0, "the answer is not valid HTTP: " + ec.message()};
    if (count == 0)
      break;
  }
  std::string rest{input.substr(used)};
  // A chunk's header line has no business being long; the parser would wait for its end for ever.
  if (!p.is_done() && p.is_header_done() && rest.size() > 64 * 1024)
    return error{engine_errc::protocol, 0, "the answer is not valid HTTP: a chunk's header does not end"};
  p.pending = std::move(rest);
  return {};
}

result<void> response_reader::finish() {
  auto& p = *parser_;
  if (p.is_done())
    return {};
  if (!p.is_header_done())
    return error{engine_errc::lost, 0, "the connection ended before the answer"};
  if (p.need_eof())
    return {};
  return error{engine_errc::lost, 0, "the connection ended in the middle of the answer"};
}

bool response_reader::header_done() const {
  return parser_->is_header_done();
}

bool response_reader::done() const {
  return parser_->is_done();
}

bool response_reader::keep_alive() const {
  return parser_->is_header_done() && parser_->keep_alive() && parser_->status != 101;
}

int response_reader::status() const {
  return parser_->is_header_done() ? parser_->status : 0;
}

std::string response_reader::header(std::string_view name) const {
  auto found = parser_->fields.find(beast::string_view{name.data(), name.size()});
  if (found == parser_->fields.end())
    return {};
  return {found->value().data(), found->value().size()};
}

std::string response_reader::take_leftover() {
  return std::exchange(parser_->pending, {});
}

} // namespace davit::transport
