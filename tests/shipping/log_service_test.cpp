// Logs on their way to other places: templates, bodies, CloudWatch's limits, AWS's signatures and credentials, and what
// is done when a service says no.
#include "fixture/log_receiver.hpp"
#include "fixture/test_engine.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "shipping/aws_credentials.hpp"
#include "shipping/aws_profile.hpp"
#include "shipping/log_service.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace davit::shipping;
using namespace davit::transport;
using namespace std::chrono_literals;

namespace {

const log_names names{"ci",
                      "a1",
                      "dind",
                      "01a20d32-0000-7000-8000-000000000001",
                      "2",
                      "build",
                      "alice",
                      "alpine:3.20",
                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                      {{"team", "red"}}};

timestamp at(std::int64_t seconds) {
  return timestamp{std::chrono::seconds{seconds}};
}

log_record line(std::string bytes, std::int64_t seconds = 1'700'000'000, log_stream stream = log_stream::out) {
  return {stream, at(seconds), std::move(bytes)};
}

std::map<std::string, std::string> environment;
const char* from_environment(const char* name) {
  auto found = environment.find(name);
  return found == environment.end() ? nullptr : found->second.c_str();
}

template <class T>
T run(boost::asio::io_context& context, awaitable<T> work) {
  std::optional<T> outcome;
  boost::asio::co_spawn(context, std::move(work), [&](std::exception_ptr failed, T value) {
    if (failed)
      std::rethrow_exception(failed);
    outcome = std::move(value);
  });
  context.restart();
  context.run();
  return std::move(*outcome);
}

delivery send(const sink_settings& settings, std::vector<log_record> records) {
  boost::asio::io_context context;
  auto service = make_log_service(context.get_executor(), settings, from_environment);
  REQUIRE(service.has_value());
  return run(context, (*service)->send(std::make_shared<log_names>(names),
                                       std::make_shared<std::vector<log_record>>(std::move(records)),
                                       {within(10s), {}, 1 << 20}));
}

sink_settings settings_of(sink_type type, const log_receiver& to) {
  sink_settings settings;
  settings.name = "test";
  settings.type = type;
  settings.url = to.url();
  return settings;
}

server_response aws_error(const std::string& kind, int status = 400) {
  return {
    status, "application/x-amz-json-1.1", R"({"__type":"com.amazonaws.logs#)" + kind + R"(","message":"said so"})", {}};
}

} // namespace

TEST_CASE("a template names the attempt's own names, and a wrong one is told") {
  CHECK(expand("{fleet}/{agent}/{engine}/{task}/{attempt}/{name}/{owner}/{image}", names)
        == "ci/a1/dind/01a20d32-0000-7000-8000-000000000001/2/build/alice/alpine:3.20");
  CHECK(expand("x-{label:team}-{label:no}-y", names) == "x-red-none-y");
  CHECK(wrong_template("{task}/{label:a}").empty());
  CHECK(wrong_template("{tusk}").find("not one of") != std::string::npos);
  CHECK(wrong_template("{task").find("not closed") != std::string::npos);
  CHECK_FALSE(wrong_template("{label:}").empty());
}

TEST_CASE("a record is a line of JSON, whatever its bytes are") {
  auto text = json_line(names, line("a \"b\" \xff\x1b[31m\r\n"));
  CHECK(text.ends_with("}\n"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  simdjson::dom::parser parser;
  auto read = parser.parse(text).value();
  CHECK(read["task"].get_string().value() == names.task);
  CHECK(read["stream"].get_string().value() == "stdout");
  CHECK(read["line"].get_string().value().starts_with("a \"b\" \xEF\xBF\xBD"));
}

TEST_CASE("CloudWatch batches keep to size, count, span and order") {
  SECTION("10 000 events") {
    std::vector<log_record> many(12'000, line("x\n"));
    auto first = next_cloudwatch_batch(many, 0);
    CHECK(first.records == 10'000);
    CHECK(next_cloudwatch_batch(many, 10'000).records == 2'000);
  }
  SECTION("1 MiB with 26 bytes for each") {
    std::vector<log_record> many(20, line(std::string(100'000, 'x')));
    auto first = next_cloudwatch_batch(many, 0);
    CHECK(first.records == 10); // 10 * 100 026
    CHECK(next_cloudwatch_batch(many, 10).records == 10);
  }
  SECTION("24 hours") {
    auto batch = next_cloudwatch_batch({line("a", 0), line("b", 86'399), line("c", 86'400)}, 0);
    CHECK(batch.records == 2);
  }
  SECTION("in the order of time") {
    auto batch = next_cloudwatch_batch({line("later", 20), line("sooner", 10, log_stream::err)}, 0);
    CHECK(batch.events == R"([{"timestamp":10000,"message":"sooner"},{"timestamp":20000,"message":"later"}])");
  }
  SECTION("a long record is cut between characters, and nothing of it is lost") {
    std::string text;
    while (text.size() < 600'000)
      text += "\xC3\xA4\xE2\x82\xAC"; // 2 and 3 bytes
    auto batch = next_cloudwatch_batch({line(text)}, 0);
    simdjson::dom::parser parser;
    std::string joined;
    std::size_t pieces = 0;
    for (auto one : parser.parse(batch.events).value().get_array()) {
      joined += one["message"].get_string().value();
      ++pieces;
    }
    CHECK(pieces == 3);
    CHECK(joined == text);
  }
  SECTION("an empty line is an event too") {
    CHECK(next_cloudwatch_batch({line("\n")}, 0).events == R"([{"timestamp":1700000000000,"message":" "}])");
  }
}

TEST_CASE("Signature Version 4 gives what AWS has published") {
  aws_credentials suite{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", {}};
  auto when = at(1'440'938'160); // 2015-08-30T12:36:00Z
  auto signature = [&](aws_request request, const std::string& service = "service") {
    auto text = aws_sign(request, suite, "us-east-1", service, when).at("Authorization");
    return text.substr(text.find("Signature=") + 10);
  };
  std::map<std::string, std::string> host{{"host", "example.amazonaws.com"}};
  CHECK(signature({"GET", "/", "", host, ""}) == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  CHECK(signature({"POST", "/", "", host, ""}) == "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
  CHECK(signature({"GET", "/", "Param2=value2&Param1=value1", host, ""})
        == "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
  auto more = host;
  more["my-header1"] = "VALUE1";
  CHECK(signature({"POST", "/", "", more, ""}) == "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d");
  auto whole = aws_sign({"GET", "/", "", host, ""}, suite, "us-east-1", "service", when);
  CHECK(whole.at("Authorization")
          .starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                       "SignedHeaders=host;x-amz-date, Signature="));
  CHECK(whole.at("X-Amz-Date") == "20150830T123600Z");
  suite.session_token = "temporary";
  CHECK(aws_sign({"GET", "/", "", host, ""}, suite, "us-east-1", "service", when).at("X-Amz-Security-Token")
        == "temporary");
}

TEST_CASE("AWS credentials are found where AWS's own tools find them, in their order") {
  boost::asio::io_context context;
  auto find = [&] { return run(context, find_aws_credentials(context.get_executor(), from_environment, within(5s))); };
  auto who = [&] {
    auto found = find();
    return found ? found->access_key : found.error().message;
  };
  scratch_folder folder;
  log_receiver served{[](const server_request& request) -> std::optional<server_response> {
    if (request.path == "/latest/api/token")
      return request.method == "PUT" && !request.header("x-aws-ec2-metadata-token-ttl-seconds").empty()
             ? server_response{200, "text/plain", "T", {}}
             : server_response{400, "text/plain", "", {}};
    if (request.path.starts_with("/latest") && request.header("x-aws-ec2-metadata-token") != "T")
      return server_response{401, "text/plain", "", {}};
    if (request.path.find("/role") == std::string::npos && request.path.starts_with("/latest"))
      return server_response{200, "text/plain", "role\n", {}};
    if (request.path == "/task" && request.header("authorization") != "Bearer C")
      return server_response{403, "text/plain", "", {}};
    auto who = request.path == "/task" ? "CONTAINER" : "INSTANCE";
    return server_response{200,
                           "application/json",
                           std::string{R"({"AccessKeyId":")"} + who
                             + R"(","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"})",
                           {}};
  }};
  std::ofstream{folder / "credentials"}
    << "[default]\naws_access_key_id = NO\naws_secret_access_key=no\n\n[ci]\naws_access_key_id = "
       "FILE\naws_secret_access_key = s\n";
  environment = {{"AWS_ACCESS_KEY_ID", "ENV"},
                 {"AWS_SECRET_ACCESS_KEY", "s"},
                 {"AWS_SHARED_CREDENTIALS_FILE", folder / "credentials"},
                 {"AWS_PROFILE", "ci"},
                 {"AWS_CONTAINER_CREDENTIALS_FULL_URI", served.url() + "/task"},
                 {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer C"},
                 {"AWS_EC2_METADATA_SERVICE_ENDPOINT", served.url()}};
  CHECK(who() == "ENV");
  environment.erase("AWS_ACCESS_KEY_ID");
  CHECK(who() == "FILE");
  environment["AWS_PROFILE"] = "nobody";
  CHECK(who() == "CONTAINER");
  auto container = find();
  REQUIRE(container.has_value());
  CHECK(container->session_token == "t");
  CHECK(container->expires_at == parse_timestamp("2030-01-01T00:00:00Z"));
  environment.erase("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  CHECK(who() == "INSTANCE");
  environment["AWS_EC2_METADATA_DISABLED"] = "true";
  auto none = find();
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message.find("none in the environment, none in " + (folder / "credentials") + " [nobody]")
        != std::string::npos);
  std::ofstream{folder / "config"} << "[profile nobody]\nregion = eu-central-1\n";
  environment["AWS_CONFIG_FILE"] = folder / "config";
  CHECK(find_aws_region(from_environment) == "eu-central-1");
  environment.clear();
}

TEST_CASE("Loki gets few labels, the task as metadata, nanoseconds, the tenant and the token") {
  log_receiver loki;
  scratch_folder folder;
  std::ofstream{folder / "token"} << "secret-token\n";
  auto settings = settings_of(sink_type::loki, loki);
  settings.group = "davit-{fleet}";
  settings.tenant = "team";
  settings.token_file = folder / "token";
  CHECK(send(settings, {line("one\n"), line("two\n", 1'700'000'001, log_stream::err)}).how == delivery::verdict::taken);
  auto request = loki.requests().at(0);
  CHECK(request.path == "/loki/api/v1/push");
  CHECK(request.header("x-scope-orgid") == "team");
  CHECK(request.header("authorization") == "Bearer secret-token");
  simdjson::dom::parser parser;
  simdjson::padded_string body{request.body};
  auto first = parser.parse(body).value()["streams"].at(0);
  CHECK(first["stream"]["job"].get_string().value() == "davit-ci");
  CHECK(first["stream"].get_object().value().size() == 5);
  CHECK(first["values"].at(0).at(0).get_string().value() == "1700000000000000000");
  CHECK(first["values"].at(0).at(2)["task"].get_string().value() == names.task);
  CHECK(loki.lines() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("an OTLP collector gets the submitter's trace with each line") {
  log_receiver collector;
  CHECK(send(settings_of(sink_type::otlp, collector), {line("one\n")}).how == delivery::verdict::taken);
  auto request = collector.requests().at(0);
  CHECK(request.path == "/v1/logs");
  CHECK(request.body.find(R"("traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331")")
        != std::string::npos);
  CHECK(request.body.find(R"({"key":"davit.task.id","value":{"stringValue":"01a20d32-0000-7000-8000-000000000001"}})")
        != std::string::npos);
  CHECK(collector.lines() == std::vector<std::string>{"one"});
}

TEST_CASE("what a service says decides whether the same is sent again") {
  log_receiver service;
  auto answer = [&](int status) {
    service.become([=](const server_request&) {
      return server_response{status, "text/plain", "said so", {{"Retry-After", "7"}}};
    });
    return send(settings_of(sink_type::loki, service), {line("x")});
  };
  for (auto status : {429, 500, 503, 401, 404}) {
    auto done = answer(status);
    INFO(status);
    CHECK(done.how == delivery::verdict::again);
    CHECK(done.wait == 7s);
    CHECK(done.message.find("said so") != std::string::npos);
  }
  CHECK(answer(400).how == delivery::verdict::never);
  CHECK(answer(503).message == "it answers with 503: said so");
  service.become([](const server_request&) { return server_response{503, "text/plain", "", {}}; });
  CHECK(send(settings_of(sink_type::loki, service), {line("x")}).message == "it answers with 503");
  auto settings = settings_of(sink_type::loki, service);
  settings.url = "http://127.0.0.1:1";
  CHECK(send(settings, {line("x")}).how == delivery::verdict::again);
}

TEST_CASE(
  "CloudWatch: group and stream are made when they are missing, throttling is waited for, each request is signed") {
  environment = {{"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "s"}, {"AWS_REGION", "eu-central-1"}};
  std::set<std::string> made;
  bool busy = true;
  log_receiver aws{[&](const server_request& request) -> std::optional<server_response> {
    auto action = request.header("x-amz-target");
    if (action.ends_with("PutLogEvents")) {
      if (made.size() < 2)
        return aws_error("ResourceNotFoundException");
      if (std::exchange(busy, false))
        return aws_error("ThrottlingException");
      return server_response{200, "application/x-amz-json-1.1", "{}", {}};
    }
    if (!made.insert(action).second)
      return aws_error("ResourceAlreadyExistsException");
    return server_response{200, "application/x-amz-json-1.1", "", {}};
  }};
  auto settings = settings_of(sink_type::cloudwatch, aws);
  settings.group = "/davit/{fleet}";
  settings.stream = "{name}:{attempt}";
  auto first = send(settings, {line("one\n")});
  CHECK(first.how == delivery::verdict::again);
  CHECK(first.message.starts_with("ThrottlingException"));
  CHECK(send(settings, {line("one\n")}).how == delivery::verdict::taken);
  CHECK(made == std::set<std::string>{"Logs_20140328.CreateLogGroup", "Logs_20140328.CreateLogStream"});
  auto last = aws.requests().back();
  CHECK(last.header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
  CHECK(last.header("authorization")
          .find("/eu-central-1/logs/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, ")
        != std::string::npos);
  CHECK(last.body.starts_with(R"({"logGroupName":"/davit/ci","logStreamName":"build_2","logEvents":[{"timestamp":)"));
  aws.become([](const server_request&) { return aws_error("InvalidParameterException"); });
  CHECK(send(settings, {line("one\n")}).how == delivery::verdict::never);
  aws.become([](const server_request&) {
    return server_response{
      200, "application/x-amz-json-1.1", R"({"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}})", {}};
  });
  CHECK(send(settings, {line("one\n")}).refused == 1);
  // Without a region there is nowhere to send to.
  environment.erase("AWS_REGION");
  environment["AWS_CONFIG_FILE"] = "/nonexistent";
  boost::asio::io_context context;
  auto service = make_log_service(context.get_executor(), settings, from_environment);
  REQUIRE_FALSE(service.has_value());
  CHECK(service.error().message.find("AWS_REGION") != std::string::npos);
  environment.clear();
}
