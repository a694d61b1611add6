// Requests to S3 that fail in ways that a real server can't be made to show: the answers are scripted.
#include "blobs/medium_promises.hpp"
#include "fixture/log_receiver.hpp"
#include "fixture/test_engine.hpp"
#include "shipping/s3_medium.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>

using namespace davit;
using namespace davit::test;
using namespace davit::shipping;
using davit::transport::server_request;
using davit::transport::server_response;
using namespace std::chrono_literals;

namespace {

const std::string key = "01930000-0000-7000-8000-000000000001";

const char* with_keys(const char* name) {
  std::string_view asked{name};
  return asked == "AWS_ACCESS_KEY_ID" ? "AKID" : asked == "AWS_SECRET_ACCESS_KEY" ? "SECRET" : nullptr;
}

std::unique_ptr<s3_medium>
medium_at(const std::string& url, duration patience = 5s, std::function<const char*(const char*)> get = with_keys) {
  s3_settings settings;
  settings.bucket = "bucket";
  settings.endpoint = url;
  settings.patience = patience;
  settings.part_bytes = 1000;
  return s3_medium::open_bucket(settings, std::move(get)).value();
}

server_response problem(int status, const std::string& code) {
  return {status, "application/xml", "<Error><Code>" + code + "</Code><Message>said so</Message></Error>", {}};
}

server_response answer(const std::string& body) {
  return {200, "application/xml", body, {}};
}

/// Whatever an upload of any number of parts asks for.
server_response upload_answer(const server_request& request) {
  if (request.method == "POST" && request.path.ends_with(key) && request.body.empty())
    return answer("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>");
  if (request.method == "POST")
    return answer("<CompleteMultipartUploadResult/>");
  return {200, "", "", {{"ETag", "\"e\""}}};
}

blobs::result<void> put_object(s3_medium& medium, std::size_t size) {
  auto writer = medium.create(key).value();
  if (auto written = writer->write(std::string(size, 'x')); !written)
    return written;
  return writer->commit();
}

} // namespace

TEST_CASE("a busy server is asked again, a refusal is told at once") {
  log_receiver server;
  std::atomic<int> left = 2;
  server.become([&](const server_request&) -> std::optional<server_response> {
    return left-- > 0 ? std::optional{problem(503, "SlowDown")} : std::nullopt;
  });
  auto medium = medium_at(server.url());
  CHECK(put_object(*medium, 10).has_value());
  CHECK(server.requests().size() == 3);
  CHECK(server.requests()[0].body == std::string(10, 'x'));
  CHECK(server.requests()[2].body == std::string(10, 'x'));
  CHECK(server.requests()[2].header("content-md5") == "M2MRoBYYQybdvdYe3U7rUg==");
  server.become([](const server_request&) { return problem(403, "AccessDenied"); });
  auto refused = put_object(*medium, 10);
  REQUIRE_FALSE(refused.has_value());
  CHECK(server.requests().size() == 4);
  CHECK(refused.error().message.starts_with("s3://bucket/" + key + " can't be written: S3 answers 403 AccessDenied"));
  CHECK(refused.error().message.find("SECRET") == std::string::npos);
  CHECK(refused.error().message.find("AKID") == std::string::npos);
}

TEST_CASE("patience with a server ends") {
  log_receiver server{[](const server_request&) { return problem(500, "InternalError"); }};
  auto medium = medium_at(server.url(), 400ms);
  auto begin = std::chrono::steady_clock::now();
  auto failed = put_object(*medium, 10);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  CHECK(server.requests().size() >= 2);
  CHECK(failed.error().message.find("try again later") != std::string::npos);
  std::string closed;
  {
    silent_listener gone;
    closed = "http://127.0.0.1:" + std::to_string(gone.port());
  }
  auto unreachable = put_object(*medium_at(closed, 300ms), 10);
  CHECK(unreachable.error().message.find("check the endpoint") != std::string::npos);
}

TEST_CASE("credentials that have expired are looked for once more, and no oftener") {
  std::string token = "old";
  auto get = [&](const char* name) -> const char* {
    return std::string_view{name} == "AWS_SESSION_TOKEN" ? token.c_str() : with_keys(name);
  };
  log_receiver server{[&](const server_request& request) -> std::optional<server_response> {
    if (request.header("x-amz-security-token") != "new")
      return problem(400, "ExpiredToken");
    return std::nullopt;
  }};
  auto medium = medium_at(server.url(), 5s, get);
  CHECK(put_object(*medium, 10).error().message.find("check the AWS credentials") != std::string::npos);
  CHECK(server.requests().size() == 2);
  token = "new";
  CHECK(put_object(*medium, 10).has_value());
  CHECK(server.requests().size() == 4);
  CHECK(put_object(*medium, 10).has_value());
  CHECK(server.requests().size() == 5);
}

TEST_CASE("requests are dated by the server's clock if it is another") {
  log_receiver server{[](const server_request& request) -> std::optional<server_response> {
    if (request.header("x-amz-date").starts_with("20370101T"))
      return std::nullopt;
    auto refused = problem(403, "RequestTimeTooSkewed");
    refused.headers.emplace_back("Date", "Thu, 01 Jan 2037 10:00:00 GMT");
    return refused;
  }};
  auto medium = medium_at(server.url());
  CHECK(put_object(*medium, 10).has_value());
  CHECK(put_object(*medium, 10).has_value());
  CHECK(server.requests().size() == 3);
}

TEST_CASE("an answer of 200 may still say that an upload was not completed") {
  log_receiver server;
  std::atomic<int> completed = 0;
  std::string instead;
  server.become([&](const server_request& request) -> std::optional<server_response> {
    if (request.method == "POST" && !request.body.empty() && ++completed == 1)
      return answer(instead);
    return upload_answer(request);
  });
  auto medium = medium_at(server.url());
  SECTION("for a reason that passes") {
    instead = "\n\n<Error><Code>InternalError</Code></Error>";
    CHECK(put_object(*medium, 2500).has_value());
    CHECK(completed == 2);
  }
  SECTION("or nothing at all, or half of it") {
    instead = GENERATE_COPY("", "  ", "<html/>", "<CompleteMultipartUploadResult><ETag>");
    CHECK(put_object(*medium, 2500).has_value());
    CHECK(completed == 2);
  }
  SECTION("for good: then the upload is aborted") {
    instead = "<Error><Code>InvalidPart</Code></Error>";
    CHECK(put_object(*medium, 2500).error().message.find("InvalidPart") != std::string::npos);
    CHECK(completed == 1);
    auto requests = server.requests();
    CHECK(requests.back().method == "DELETE");
    CHECK(requests.back().parameter("uploadId") == "u1");
  }
}

TEST_CASE("an object of one part is one request, and parts hold what was written, in order") {
  log_receiver server{upload_answer};
  auto medium = medium_at(server.url());
  CHECK(put_object(*medium, 1000).has_value());
  CHECK(server.requests().size() == 1);
  CHECK(put_object(*medium, 0).has_value());
  CHECK(server.requests().size() == 2);
  std::string all;
  auto writer = medium->create(key).value();
  for (int i = 0; all.size() < 3000; ++i) {
    auto piece = std::to_string(i) + ' ';
    all += piece;
    CHECK(writer->write(piece).has_value());
  }
  CHECK(writer->commit().has_value());
  auto requests = server.requests();
  requests.erase(requests.begin(), requests.begin() + 2);
  std::string sent;
  for (const auto& one : requests)
    if (one.method == "PUT") {
      CHECK(one.parameter("uploadId") == "u1");
      CHECK(one.parameter("partNumber") == std::to_string(sent.size() / 1000 + 1));
      sent += one.body;
    }
  CHECK(sent == all);
  CHECK(requests.back().body.ends_with(
    "<Part><PartNumber>4</PartNumber><ETag>\"e\"</ETag></Part></CompleteMultipartUpload>"));
}

// Swift completes an upload twice; AWS may not know it any more.
TEST_CASE("an upload that S3 no longer knows was completed if its object is there") {
  log_receiver server;
  std::atomic<int> completed = 0;
  std::optional<std::size_t> size;
  server.become([&](const server_request& request) -> std::optional<server_response> {
    if (request.method == "POST" && !request.body.empty())
      return ++completed == 1 ? problem(500, "InternalError") : problem(404, "NoSuchUpload");
    if (request.method == "HEAD")
      return size ? server_response{200, "", std::string(*size, 'x'), {}} : server_response{404, "", "", {}};
    return upload_answer(request);
  });
  auto medium = medium_at(server.url());
  SECTION("as a whole") {
    size = 2500;
    CHECK(put_object(*medium, 2500).has_value());
    CHECK(completed == 2);
    CHECK(server.requests().back().method == "HEAD"); // nothing to abort
  }
  SECTION("and not if it is another") {
    size = 2499;
    CHECK(put_object(*medium, 2500).error().message.find("NoSuchUpload") != std::string::npos);
  }
  SECTION("and not if it is missing") {
    CHECK(put_object(*medium, 2500).error().message.find("NoSuchUpload") != std::string::npos);
  }
}

TEST_CASE("a server that sends another part than the one that was asked for is not believed") {
  std::string range;
  log_receiver server{[&](const server_request& request) -> std::optional<server_response> {
    if (request.method == "HEAD")
      return server_response{200, "", std::string(200'000, 'x'), {}};
    return server_response{206, "application/octet-stream", std::string(131'072, 'x'), {{"Content-Range", range}}};
  }};
  auto reader = medium_at(server.url())->open(key).value();
  char piece[10];
  range = "bytes 0-131071/200000";
  CHECK(reader->read(0, piece).value() == 10);
  range = "bytes 1-131072/200000";
  CHECK(reader->read(0, piece).value() == 10); // read ahead
  auto other = medium_at(server.url())->open(key).value();
  CHECK(other->read(0, piece).error().message.find("another part") != std::string::npos);
}
