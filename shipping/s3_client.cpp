#include "shipping/s3_client.hpp"

#include "encoding/base64.hpp"
#include "encoding/digest.hpp"
#include "shipping/aws_credentials.hpp"

#include <boost/asio/co_spawn.hpp>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <thread>

namespace davit::shipping {

using namespace std::chrono_literals;
using transport::deadline;
using transport::http_response;

namespace {

constexpr std::size_t most_idle = 16;
constexpr unsigned most_handshakes = 3;
constexpr std::size_t slowest = 128 * 1024; ///< Bytes in a second, at which a request is not given up yet.
constexpr auto credentials_within = 10s;
constexpr auto renew_before = 5min;
constexpr duration first_backoff{100}, longest_backoff{5'000};

/// For Content-MD5, which servers ask for that keep objects from being removed. Empty: this OpenSSL has none (FIPS).
std::string md5_of(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr) != 1)
    return {};
  return encoding::base64_encode({reinterpret_cast<const char*>(digest.data()), size});
}

std::string lower_case(std::string name) {
  for (auto& c : name)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return name;
}

/// How far this machine's clock is behind the server's.
std::optional<std::chrono::seconds> behind_by(const http_response& answer) {
  auto date = parse_http_date(answer.header("date"));
  if (!date)
    return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(*date - std::chrono::system_clock::now());
}

s3_trouble trouble_of(const transport::result<http_response>& answer) {
  s3_trouble trouble;
  if (!answer) {
    trouble.error = answer.error();
    return trouble;
  }
  trouble.status = answer->status;
  // Only what can be an error is taken for one: an answer may also be the bytes of an object.
  if (answer->status >= 300
      || (answer->status == 200 && answer->header("content-type").find("xml") != std::string::npos))
    trouble.problem = read_s3_problem(answer->body).value_or(s3_problem{});
  if (trouble.problem.region.empty())
    trouble.problem.region = answer->header("x-amz-bucket-region");
  return trouble;
}

} // namespace

/// A connection, and an io_context that the caller's thread runs.
struct s3_client::lane {
  boost::asio::io_context context{1};
  std::shared_ptr<transport::http_client> client;
  explicit lane(const transport::endpoint& where)
    : client(std::make_shared<transport::http_client>(context.get_executor(), where)) {}
};

s3_client::s3_client(const s3_settings& settings, s3_place place, environment get)
  : settings_(settings), place_(std::move(place)), get_(std::move(get)), random_(std::random_device{}()) {}

s3_client::~s3_client() = default;

std::string s3_client::shown(std::string_view key) const {
  if (key.empty())
    return place_.shown;
  return "s3://" + settings_.bucket + '/' + std::string{key};
}

timestamp s3_client::now() const {
  std::lock_guard guard{mutex_};
  return std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now()) + behind_;
}

std::unique_ptr<s3_client::lane> s3_client::take_lane() {
  {
    std::lock_guard guard{mutex_};
    if (!idle_.empty()) {
      auto one = std::move(idle_.back());
      idle_.pop_back();
      return one;
    }
  }
  return std::make_unique<lane>(place_.where);
}

void s3_client::give_back(std::unique_ptr<lane> one) {
  std::lock_guard guard{mutex_};
  if (idle_.size() < most_idle)
    idle_.push_back(std::move(one));
}

/// Between a half and the whole of it, so that many agents do not come back at once.
duration s3_client::backoff(unsigned tries) {
  auto whole = std::min(longest_backoff, first_backoff * (1u << std::min(tries, 10u)));
  std::lock_guard guard{mutex_};
  return std::chrono::duration_cast<duration>(whole * std::uniform_real_distribution{0.5, 1.0}(random_));
}

std::chrono::seconds s3_client::behind() const {
  std::lock_guard guard{mutex_};
  return behind_;
}

s3_client::result<http_response> s3_client::call(const s3_request& request) {
  const digests body{encoding::sha256_hex(request.body), request.body.empty() ? "" : md5_of(request.body)};
  const auto give_up = transport::within(settings_.patience);
  bool renewed = false, corrected = false;
  for (unsigned tries = 0;; ++tries) {
    auto answer = attempt(request, body);
    auto trouble = trouble_of(answer);
    auto behind_now = answer ? behind_by(*answer) : std::nullopt;
    if (trouble.status == 200 && trouble.problem.code.empty() && request.is_valid && !request.is_valid(answer->body))
      trouble = {0, {}, {engine_errc::lost, 0, "the answer is not what S3's API says"}};
    auto verdict = judge(trouble, behind_now ? std::optional{*behind_now - behind()} : std::nullopt);
    if (verdict == s3_verdict::done)
      return std::move(*answer);
    if (verdict == s3_verdict::correct && !std::exchange(corrected, true) && behind_now) {
      std::lock_guard guard{mutex_};
      behind_ = *behind_now;
      continue;
    }
    if (verdict == s3_verdict::renew && !std::exchange(renewed, true)) {
      std::lock_guard guard{mutex_};
      credentials_.reset();
      continue;
    }
    auto wait = backoff(tries);
    // One that took all the time to fail is made again once.
    bool over = tries > 0 && std::chrono::steady_clock::now() + wait > give_up;
    // It may be a server that ends in the middle of a handshake, but most often it is a certificate.
    over = over || (trouble.error.code == engine_errc::tls && tries >= most_handshakes);
    if (verdict != s3_verdict::again || request.once || over)
      return explain(trouble, shown(request.key), request.done);
    std::this_thread::sleep_for(wait);
  }
}

transport::result<http_response> s3_client::attempt(const s3_request& request, const digests& body) {
  auto with = take_lane();
  std::optional<transport::result<http_response>> outcome;
  std::exception_ptr escaped;
  boost::asio::co_spawn(with->context, send(*with, request, body),
                        [&](const std::exception_ptr& failed, transport::result<http_response> answer) {
                          escaped = failed;
                          if (!failed)
                            outcome.emplace(std::move(answer));
                        });
  with->context.restart();
  with->context.run();
  try {
    if (escaped)
      std::rethrow_exception(escaped);
  } catch (const std::exception& e) { // no memory, or no descriptor
    return transport::error{engine_errc::protocol, 0, e.what()};
  }
  give_back(std::move(with));
  return std::move(*outcome);
}

transport::awaitable<transport::result<http_response>>
s3_client::send(lane& with, const s3_request& request, const digests& body) {
  auto found = co_await credentials(with);
  if (!found)
    co_return found.error();
  transport::call_options options;
  options.max_body = request.max_body;
  options.until = transport::within(request.answer_within)
                + std::chrono::seconds{(request.body.size() + request.max_body) / slowest};
  co_return co_await with.client->request(sign(request, body, *found), options);
}

// Several threads may look at once for new ones. That does no harm, and nobody waits for another.
transport::awaitable<transport::result<aws_credentials>> s3_client::credentials(lane& with) {
  std::optional<aws_credentials> known;
  {
    std::lock_guard guard{mutex_};
    known = credentials_;
  }
  auto now = std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now());
  if (known && (!known->expires_at || now + renew_before < *known->expires_at))
    co_return std::move(*known);
  auto found
    = co_await find_aws_credentials(with.client->executor(), get_, transport::within(duration{credentials_within}));
  if (!found && known && now < *known->expires_at)
    co_return std::move(*known);
  if (found) {
    std::lock_guard guard{mutex_};
    credentials_ = *found;
  }
  co_return found;
}

transport::http_request
s3_client::sign(const s3_request& request, const digests& body, const aws_credentials& with) const {
  aws_request to_sign;
  to_sign.method = request.method;
  to_sign.path = place_.path + '/' + request.key; // all that is in keys and prefixes needs no encoding
  if (request.key.empty() && !place_.path.empty())
    to_sign.path.pop_back();
  for (const auto& [name, value] : request.query)
    to_sign.query += (to_sign.query.empty() ? "" : "&") + name + '=' + transport::url_encode(value);
  to_sign.body_sha256 = body.sha256;
  transport::http_request sent;
  sent.method = request.method;
  sent.target = to_sign.path + (to_sign.query.empty() ? "" : '?' + to_sign.query);
  sent.long_body = request.body;
  sent.content_type = "application/octet-stream";
  sent.headers = request.headers;
  sent.headers.emplace_back("x-amz-content-sha256", body.sha256);
  if (!body.md5.empty())
    sent.headers.emplace_back("Content-MD5", body.md5);
  to_sign.headers["host"] = transport::host_header(place_.where);
  for (const auto& [name, value] : sent.headers)
    to_sign.headers[lower_case(name)] = value;
  for (const auto& [name, value] : aws_sign(to_sign, with, place_.region, "s3", now()))
    sent.headers.emplace_back(name, value);
  return sent;
}

} // namespace davit::shipping
