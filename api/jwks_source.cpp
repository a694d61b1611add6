#include "api/jwks_source.hpp"

#include "api/fetched_keys.hpp"
#include "api/watched_file.hpp"
#include "messages/regular_file.hpp"
#include "transport/endpoint.hpp"
#include "transport/http_client.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/strand.hpp>

#include <utility>

namespace davit::api {

namespace {

using namespace std::chrono_literals;
using keys_ptr = std::shared_ptr<const key_set>;

std::optional<keys_ptr> load(const std::filesystem::path& file, std::string& error) {
  auto keys = load_keys(file, error);
  return keys ? std::optional{keys} : std::nullopt;
}

class file_source final : public jwks_source {
public:
  explicit file_source(const issuer_settings& settings)
    : keys_(settings.jwks_file, "the keys of the issuer " + settings.name, &load) {}

  view look(const jwt&) override {
    auto keys = keys_.now();
    return {keys ? keys : std::make_shared<const key_set>(), false};
  }
  void tend() override {}
  std::uint64_t version() override { return keys_.version(); }

private:
  watched_file<keys_ptr> keys_;
};

constexpr duration fetch_deadline = 10s;

/// Fetches the keys. An error's text says what went wrong.
transport::awaitable<std::string> fetch(std::shared_ptr<transport::http_client> client, std::string path,
                                        transport::call_options options, std::shared_ptr<fetched_keys> into) {
  transport::http_request request;
  request.target = std::move(path);
  request.headers.emplace_back("Accept", "application/json");
  auto answer = co_await client->request(std::move(request), options);
  client->drop_idle();
  if (!answer)
    co_return answer.error().message;
  if (answer->status != 200)
    co_return "the answer was " + std::to_string(answer->status);
  std::string why;
  auto keys = key_set::parse(answer->body, why);
  if (!keys)
    co_return "the answer is not valid: " + why;
  into->end(std::make_shared<const key_set>(std::move(*keys)), answer->body, fetched_keys::clock::now());
  co_return "";
}

class url_source final : public jwks_source {
public:
  url_source(const issuer_settings& settings, const transport::service_url& url, boost::asio::any_io_executor executor)
    : name_(settings.name), path_(url.path),
      client_(std::make_shared<transport::http_client>(boost::asio::make_strand(executor), url.where)) {
    tend();
  }

  ~url_source() override { control_->cancel(); }

  view look(const jwt& token) override {
    auto now = keys_->look();
    auto unknown = now.keys && !now.keys->knows(token);
    return {now.keys, now.pending || (unknown && start(true))};
  }

  void tend() override { start(false); }
  std::uint64_t version() override { return keys_->version(); }

private:
  bool start(bool has_unknown_key) {
    if (!keys_->begin(has_unknown_key, fetched_keys::clock::now()))
      return false;
    transport::call_options options;
    options.until = transport::within(fetch_deadline);
    options.control = control_;
    options.max_body = key_set::most_bytes;
    boost::asio::co_spawn(client_->executor(), fetch(client_, path_, options, keys_),
                          [name = name_, keys = keys_](const std::exception_ptr& failed, const std::string& why) {
                            auto trouble = failed ? std::string{"an internal error"} : why;
                            if (trouble.empty())
                              return;
                            if (keys->fail(trouble, fetched_keys::clock::now()))
                              spdlog::warn("the keys of the issuer {} can't be fetched: {}", name, trouble);
                          });
    return true;
  }

  std::string name_, path_;
  std::shared_ptr<transport::http_client> client_;
  std::shared_ptr<fetched_keys> keys_ = std::make_shared<fetched_keys>();
  transport::control_ptr control_ = std::make_shared<transport::call_control>();
};

} // namespace

std::shared_ptr<const key_set> load_keys(const std::filesystem::path& file, std::string& error) {
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0 && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    error = file.string() + " can be changed by other users; run: chmod go-w " + file.string();
    return nullptr;
  }
  regular_file in{file};
  auto text = in.read();
  if (!text) {
    error = file.string() + ' ' + in.wrong();
    return nullptr;
  }
  std::string why;
  if (auto keys = key_set::parse(*text, why))
    return std::make_shared<const key_set>(std::move(*keys));
  error = file.string() + " is not valid: " + why;
  return nullptr;
}

std::unique_ptr<jwks_source> make_jwks_source(const issuer_settings& settings, boost::asio::any_io_executor executor) {
  if (settings.jwks_url.empty())
    return std::make_unique<file_source>(settings);
  auto url = transport::parse_service_url(settings.jwks_url, "/", settings.tls_ca);
  if (!url)
    return std::make_unique<file_source>(settings);
  return std::make_unique<url_source>(settings, *url, std::move(executor));
}

} // namespace davit::api
