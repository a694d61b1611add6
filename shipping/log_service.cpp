#include "shipping/log_service.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "messages/regular_file.hpp"
#include "shipping/aws_credentials.hpp"
#include "shipping/aws_profile.hpp"

#include <charconv>

namespace davit::shipping {

using namespace transport;

namespace {

using namespace std::chrono_literals;

/// What HTTP's answer says about sending the same again.
delivery judge(const result<http_response>& answer) {
  if (!answer)
    return {delivery::verdict::again, answer.error().message, duration{0}, 0, {}};
  if (answer->status >= 200 && answer->status < 300)
    return {};
  delivery failed;
  failed.message = "it answers with " + std::to_string(answer->status);
  if (!answer->body.empty())
    failed.message += ": " + answer->body.substr(0, 300);
  // What is wrong with the address or the token can be put right; what is wrong with the records can't.
  failed.how = answer->status == 400 || answer->status == 413 || answer->status == 422 ? delivery::verdict::never
                                                                                       : delivery::verdict::again;
  auto after = answer->header("retry-after");
  int seconds = 0;
  if (std::from_chars(after.data(), after.data() + after.size(), seconds).ec == std::errc{})
    failed.wait = std::chrono::seconds{std::min(seconds, 300)};
  return failed;
}

/// Loki and OTLP: one POST.
class push_service final : public log_service {
public:
  push_service(boost::asio::any_io_executor executor, service_url where, sink_settings settings)
    : client_(std::make_shared<http_client>(executor, where.where)), path_(std::move(where.path)),
      settings_(std::move(settings)) {}

  awaitable<delivery> send(std::shared_ptr<const log_names> names,
                           std::shared_ptr<const std::vector<log_record>> records, call_options options) override {
    http_request request;
    request.method = "POST";
    request.target = path_;
    auto group = expand(settings_.group, *names);
    request.body
      = settings_.type == sink_type::loki ? loki_body(group, *names, *records) : otlp_body(group, *names, *records);
    if (!settings_.tenant.empty())
      request.headers.emplace_back("X-Scope-OrgID", settings_.tenant);
    if (!settings_.token_file.empty()) { // read each time: tokens are renewed
      std::string token;
      regular_file file{settings_.token_file};
      auto text = file.read();
      if (!text)
        co_return delivery{delivery::verdict::again, settings_.token_file + ' ' + file.wrong(), duration{0}, 0, {}};
      token = text->substr(0, text->find('\n'));
      request.headers.emplace_back("Authorization", "Bearer " + token);
    }
    auto answer = co_await client_->request(std::move(request), std::move(options));
    co_return judge(answer);
  }

private:
  std::shared_ptr<http_client> client_;
  std::string path_;
  sink_settings settings_;
};

struct aws_problem {
  std::string type, message, other_message;
};
template <class Inspector>
bool inspect(Inspector& f, aws_problem& x) {
  return f.object(x).fields(f.field("__type", x.type), f.field("message", x.message),
                            f.field("Message", x.other_message));
}

struct rejected_events {
  std::optional<std::int64_t> too_new_from, too_old_to, expired_to;
};
template <class Inspector>
bool inspect(Inspector& f, rejected_events& x) {
  return f.object(x).fields(f.field("tooNewLogEventStartIndex", x.too_new_from),
                            f.field("tooOldLogEventEndIndex", x.too_old_to),
                            f.field("expiredLogEventEndIndex", x.expired_to));
}

struct put_answer {
  std::optional<rejected_events> rejected;
};
template <class Inspector>
bool inspect(Inspector& f, put_answer& x) {
  return f.object(x).fields(f.field("rejectedLogEventsInfo", x.rejected));
}

class cloudwatch_service final : public log_service {
public:
  cloudwatch_service(boost::asio::any_io_executor executor, service_url where, sink_settings settings,
                     std::string region, std::function<const char*(const char*)> get)
    : client_(std::make_shared<http_client>(executor, where.where)), path_(std::move(where.path)),
      settings_(std::move(settings)), region_(std::move(region)), get_(std::move(get)) {}

  awaitable<delivery> send(std::shared_ptr<const log_names> names,
                           std::shared_ptr<const std::vector<log_record>> records, call_options options) override {
    // Colons and asterisks may not stand in a stream's name: API reference, CreateLogStream.
    auto group = expand(settings_.group, *names), stream = expand(settings_.stream, *names);
    for (auto& c : stream)
      if (c == ':' || c == '*')
        c = '_';
    delivery whole;
    for (std::size_t from = 0; from < records->size();) {
      auto batch = next_cloudwatch_batch(*records, from);
      auto body = R"({"logGroupName":)" + json::write(json::value(group)) + R"(,"logStreamName":)"
                + json::write(json::value(stream)) + R"(,"logEvents":)" + batch.events + '}';
      auto done = co_await call("PutLogEvents", body, options);
      if (done.kind == "ResourceNotFoundException") {
        auto made = co_await make(group, stream, options);
        if (made.how != delivery::verdict::taken)
          co_return made;
        done = co_await call("PutLogEvents", body, options);
      }
      // From before sequence tokens were done away with: the batch is there already.
      if (done.kind == "DataAlreadyAcceptedException")
        done = {};
      if (done.how != delivery::verdict::taken)
        co_return done;
      whole.refused += done.refused;
      from += batch.records;
    }
    co_return whole;
  }

private:
  awaitable<delivery> make(std::string group, std::string stream, call_options options) {
    auto quoted_group = json::write(json::value(group));
    auto made = co_await call("CreateLogGroup", R"({"logGroupName":)" + quoted_group + '}', options);
    if (made.how != delivery::verdict::taken && made.kind != "ResourceAlreadyExistsException")
      co_return made;
    made = co_await call(
      "CreateLogStream",
      R"({"logGroupName":)" + quoted_group + R"(,"logStreamName":)" + json::write(json::value(stream)) + '}', options);
    if (made.how != delivery::verdict::taken && made.kind != "ResourceAlreadyExistsException")
      co_return made;
    co_return delivery{};
  }

  awaitable<delivery> call(std::string action, std::string body, call_options options) {
    auto now = std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now());
    if (!credentials_ || (credentials_->expires_at && *credentials_->expires_at < now + 5min)) {
      auto found = co_await find_aws_credentials(client_->executor(), get_, options.until);
      if (!found)
        co_return delivery{delivery::verdict::again, found.error().message, duration{0}, 0, {}};
      credentials_ = std::move(*found);
    }
    http_request request;
    request.method = "POST";
    request.target = path_;
    request.content_type = "application/x-amz-json-1.1";
    aws_request to_sign;
    to_sign.path = path_;
    to_sign.body = body;
    to_sign.headers["host"] = host_header(client_->where());
    to_sign.headers["content-type"] = request.content_type;
    to_sign.headers["x-amz-target"] = "Logs_20140328." + action;
    request.headers.emplace_back("X-Amz-Target", to_sign.headers["x-amz-target"]);
    for (const auto& [name, value] : aws_sign(to_sign, *credentials_, region_, "logs", now))
      request.headers.emplace_back(name, value);
    request.body = std::move(body);
    auto answer = co_await client_->request(std::move(request), options);
    auto done = judge(answer);
    if (!answer)
      co_return done;
    if (done.how == delivery::verdict::taken) {
      auto said = json::read<put_answer>(std::string_view{answer->body.empty() ? "{}" : answer->body},
                                         json::unknown_fields::ignore);
      if (said && said->rejected) {
        done.message = "events that were too old or too new were dropped";
        done.refused = 1;
      }
      co_return done;
    }
    if (auto problem = json::read<aws_problem>(std::string_view{answer->body}, json::unknown_fields::ignore);
        problem && !problem->type.empty()) {
      done.kind = problem->type.substr(problem->type.find('#') == std::string::npos ? 0 : problem->type.find('#') + 1);
      done.message = done.kind + ": " + (problem->message.empty() ? problem->other_message : problem->message);
      // Of the 400s, only these are about the records.
      done.how = done.kind == "InvalidParameterException" || done.kind == "SerializationException"
                 ? delivery::verdict::never
                 : delivery::verdict::again;
      if (done.kind == "ExpiredTokenException" || done.kind == "UnrecognizedClientException")
        credentials_.reset();
    }
    co_return done;
  }

  std::shared_ptr<http_client> client_;
  std::string path_;
  sink_settings settings_;
  std::string region_;
  std::function<const char*(const char*)> get_;
  std::optional<aws_credentials> credentials_;
};

} // namespace

result<std::shared_ptr<log_service>> make_log_service(boost::asio::any_io_executor executor,
                                                      const sink_settings& settings,
                                                      std::function<const char*(const char*)> get) {
  auto url = settings.url, usual = std::string{settings.type == sink_type::loki   ? "/loki/api/v1/push"
                                               : settings.type == sink_type::otlp ? "/v1/logs"
                                                                                  : "/"};
  auto region = settings.region.empty() ? find_aws_region(get) : settings.region;
  if (settings.type == sink_type::cloudwatch) {
    if (region.empty())
      return error{engine_errc::refused, 0, "the sink " + settings.name + ": no AWS region; set region, or AWS_REGION"};
    if (url.empty())
      url = "https://logs." + region + ".amazonaws.com";
  }
  auto where = parse_service_url(url, usual, settings.tls_ca);
  if (!where)
    return where.error();
  if (settings.type == sink_type::cloudwatch)
    return std::shared_ptr<log_service>{
      std::make_shared<cloudwatch_service>(executor, *where, settings, region, std::move(get))};
  return std::shared_ptr<log_service>{std::make_shared<push_service>(executor, *where, settings)};
}

} // namespace davit::shipping
