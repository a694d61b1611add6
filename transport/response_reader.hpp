// Reads an HTTP/1.1 answer from bytes, wherever they come from: no I/O in here, so it can be fuzzed.
#pragma once

#include "transport/error.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace davit::transport {

class response_reader {
public:
  /// `no_body`: the answer to HEAD.
  explicit response_reader(bool no_body = false);
  response_reader(response_reader&&) noexcept;
  ~response_reader();

  /// Takes all of `bytes`, gives what is body to `sink` piece by piece, chunked coding taken off. After the answer's
  /// end further bytes are kept for leftover(). Headers over 64 KiB are an error.
  result<void> feed(std::string_view bytes, const std::function<void(std::string_view)>& sink);

  /// The connection has ended. An error if the answer had not.
  result<void> finish();

  bool header_done() const;
  bool done() const;

  /// Whether the connection can take a further request once this answer is done.
  bool keep_alive() const;

  /// RFC 9110, 15; 0 before the header is done.
  int status() const;

  /// A header's value; empty if it is not there. Names are compared without case.
  std::string header(std::string_view name) const;

  /// What came behind the answer.
  std::string take_leftover();

private:
  struct parser;
  std::unique_ptr<parser> parser_;
};

} // namespace davit::transport
