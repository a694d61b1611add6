// What S3's client decides before and after it has asked: places, sizes of parts and reads, answers, XML.
#include "blobs/medium_promises.hpp"
#include "shipping/s3_reader.hpp"
#include "shipping/s3_settings.hpp"
#include "shipping/s3_verdict.hpp"
#include "shipping/s3_writer.hpp"
#include "shipping/s3_xml.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace davit::shipping;
using namespace std::chrono_literals;

namespace {

const char* nothing(const char*) {
  return nullptr;
}

s3_trouble said(int status, const std::string& code = {}) {
  s3_trouble trouble;
  trouble.status = status;
  trouble.problem.code = code;
  return trouble;
}

s3_trouble unanswered(engine_errc code) {
  s3_trouble trouble;
  trouble.error = {code, 0, "tcp://s3:443 did not answer"};
  return trouble;
}

} // namespace

TEST_CASE("a place in S3 is taken apart, and a wrong one is told") {
  auto good = [](std::string_view text) {
    auto place = parse_s3_url(text).value();
    return place.bucket + ' ' + place.prefix;
  };
  CHECK(good("s3://bucket") == "bucket ");
  CHECK(good("s3://bucket/") == "bucket ");
  CHECK(good("s3://my-bucket.eu/a/b_c.d/") == "my-bucket.eu a/b_c.d");
  CHECK(to_string(parse_s3_url("s3://bucket/a/b/").value()) == "s3://bucket/a/b");
  CHECK(to_string(parse_s3_url("s3://bucket").value()) == "s3://bucket");
  auto wrong = [](std::string_view text, const char* why) {
    auto place = parse_s3_url(text);
    CAPTURE(text);
    REQUIRE_FALSE(place.has_value());
    CHECK(place.error().code == blobs::errc::invalid);
    CHECK(place.error().message.find(why) != std::string::npos);
    CHECK(place.error().message.find("write s3://") != std::string::npos);
  };
  wrong("", "does not begin with s3://");
  wrong("http://bucket", "does not begin with s3://");
  wrong("S3://bucket", "does not begin with s3://");
  wrong("s3://", "missing");
  wrong("s3:///a", "missing");
  wrong("s3://ab", "3 to 63");
  wrong("s3://" + std::string(64, 'a'), "3 to 63");
  wrong("s3://Bucket", "small letters");
  wrong("s3://bucket:443/a", "small letters");
  wrong("s3://-bucket", "begins and ends");
  wrong("s3://bucket.", "begins and ends");
  wrong("s3://a..b", "two dots");
  wrong("s3://127.0.0.1/a", "IP address");
  for (auto prefix : {"/a", "a//b", "../a", "a/./b", "a/..", "a//"})
    wrong("s3://bucket/" + std::string{prefix}, "empty part");
  for (auto prefix : {"a b", "a?b", "\xc3\xa4", "a%20", "a#", "a+b"})
    wrong("s3://bucket/" + std::string{prefix}, "letters, digits");
  wrong("s3://bucket/" + std::string(513, 'a'), "longer");
  wrong("s3://KEY:SECRET@bucket", "no credentials");
  CHECK(parse_s3_url("s3://KEY:SECRET@bucket").error().message.find("SECRET") == std::string::npos);
}

TEST_CASE("a bucket's server is found from its settings and the environment") {
  auto settings = parse_s3_url("s3://bucket/a").value();
  CHECK(find_s3_place(settings, nothing).error().message.find("no AWS region") != std::string::npos);
  auto region = [](const char* name) { return std::string_view{name} == "AWS_REGION" ? "eu-west-2" : nullptr; };
  auto place = find_s3_place(settings, region).value();
  CHECK(place.where.host == "bucket.s3.eu-west-2.amazonaws.com");
  CHECK(place.where.port == 443);
  CHECK(place.where.tls.has_value());
  CHECK(place.path.empty());
  CHECK(place.shown == "s3://bucket/a");
  settings.region = "cn-north-1";
  settings.path_style = true;
  place = find_s3_place(settings, region).value();
  CHECK(place.where.host == "s3.cn-north-1.amazonaws.com.cn");
  CHECK(place.path == "/bucket");
  settings = parse_s3_url("s3://my.bucket").value(); // no certificate covers my.bucket.s3...
  CHECK(find_s3_place(settings, region).value().path == "/my.bucket");
  settings.bucket = "bucket";
  settings.endpoint = "http://10.1.2.3:9000";
  place = find_s3_place(settings, nothing).value();
  CHECK(place.where.host == "10.1.2.3");
  CHECK(place.region == "us-east-1");
  CHECK(place.path == "/bucket");
  CHECK_FALSE(place.where.tls.has_value());
  settings.endpoint = "https://minio.local/";
  settings.tls_ca = "/etc/ca.pem";
  place = find_s3_place(settings, nothing).value();
  CHECK(place.where.host == "bucket.minio.local");
  CHECK(place.where.tls->ca == "/etc/ca.pem");
  for (auto bad : {"minio.local:9000", "tcp://minio.local", "unix:///run/s3", "https://u:p@minio.local",
                   "https://minio.local/path", "https://minio.local:0"}) {
    settings.endpoint = bad;
    CAPTURE(bad);
    CHECK(find_s3_place(settings, nothing).error().message.find("write http") != std::string::npos);
  }
  settings.endpoint.clear();
  settings.region = "eu west";
  CHECK_FALSE(find_s3_place(settings, nothing).has_value());
}

TEST_CASE("10 000 parts hold 5 TiB, and no part is larger than it has to be") {
  constexpr std::uint64_t least = 8 << 20, most_of_s3 = 5ull << 30;
  std::uint64_t sent = 0;
  for (int part = 0; part < 10'000; ++part) {
    auto size = s3_part_size(least, sent);
    REQUIRE(size >= least);
    REQUIRE((sent > (10ull << 30) || size == least));
    sent += size;
    if (sent <= (5ull << 40))
      REQUIRE(size <= most_of_s3);
  }
  CHECK(sent >= (5ull << 40));
}

TEST_CASE("who reads on gets more with each request, who jumps gets little, nobody more than there is") {
  s3_window window{100 << 20, 4 << 20};
  auto first = window.next(1000, 10);
  CHECK(first.begin == 1000);
  CHECK(first.length == 128 << 10);
  std::uint64_t at = first.begin + first.length;
  for (std::size_t expected : {256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 4 << 20}) {
    auto next = window.next(at, 1);
    CHECK(next.begin == at);
    CHECK(next.length == expected);
    at += next.length;
  }
  CHECK(window.next(5, 1).length == 128 << 10);
  CHECK(window.next(9'000'000, 300'000).length == 300'000);
  CHECK(window.next(0, 64 << 20).length == 4 << 20);
  CHECK(window.next((100 << 20) - 7, 50).length == 7);
  s3_window little{3, 4 << 20};
  CHECK(little.next(1, 1).length == 2);
}

TEST_CASE("an answer of S3 says whether to try again, with which credentials and by which clock") {
  using enum s3_verdict;
  for (auto status : {200, 204, 206})
    CHECK(judge(said(status)) == done);
  for (auto status : {500, 502, 503, 504, 429, 408})
    CHECK(judge(said(status)) == again);
  for (auto status : {301, 404, 405, 412, 416, 501, 507})
    CHECK(judge(said(status)) == never);
  CHECK(judge(said(200, "InternalError")) == again); // CompleteMultipartUpload
  CHECK(judge(said(200, "AccessDenied")) == never);
  CHECK(judge(said(400, "RequestTimeout")) == again);
  CHECK(judge(said(503, "SlowDown")) == again);
  CHECK(judge(said(400, "InvalidRequest")) == never);
  CHECK(judge(said(403, "AccessDenied")) == never);
  CHECK(judge(said(403, "SignatureDoesNotMatch")) == never);
  CHECK(judge(said(400, "ExpiredToken")) == renew);
  CHECK(judge(said(403, "InvalidAccessKeyId")) == renew);
  CHECK(judge(said(403)) == renew); // to HEAD
  CHECK(judge(said(403, "RequestTimeTooSkewed")) == correct);
  CHECK(judge(said(403), 20min) == correct);
  CHECK(judge(said(403), -20min) == correct);
  CHECK(judge(said(403), 2s) == renew);
  CHECK(judge(said(404), 20min) == never);
  for (auto code : {engine_errc::lost, engine_errc::unreachable, engine_errc::timed_out, engine_errc::tls})
    CHECK(judge(unanswered(code)) == again);
  for (auto code : {engine_errc::permission, engine_errc::protocol, engine_errc::cancelled})
    CHECK(judge(unanswered(code)) == never);
}

TEST_CASE("a failure of S3 is a sentence with the object and with what to do") {
  auto sentence = [](const s3_trouble& trouble) { return explain(trouble, "s3://b/k", "read").error; };
  CHECK(sentence(said(404, "NoSuchKey")).code == blobs::errc::missing);
  CHECK(sentence(said(404, "NoSuchKey")).message == "s3://b/k can't be read: it is not there");
  CHECK(sentence(said(404, "NoSuchBucket")).code == blobs::errc::failed);
  CHECK(sentence(said(404, "NoSuchBucket")).message.find("make the bucket") != std::string::npos);
  CHECK(sentence(said(404, "NoSuchUpload")).code == blobs::errc::failed);
  CHECK(sentence(said(412, "PreconditionFailed")).code == blobs::errc::missing);
  CHECK(sentence(said(403, "QuotaExceeded")).code == blobs::errc::full);
  CHECK(sentence(said(507)).code == blobs::errc::full);
  CHECK(sentence(said(403, "AccessDenied")).message.find("s3:GetObject") != std::string::npos);
  CHECK(sentence(said(403, "SignatureDoesNotMatch")).message.find("check the AWS credentials") != std::string::npos);
  auto moved = said(301, "PermanentRedirect");
  moved.problem.region = "eu-west-2";
  CHECK(sentence(moved).message.find("set the region to eu-west-2") != std::string::npos);
  moved = said(400); // to HEAD
  moved.problem.region = "eu-west-2";
  CHECK(sentence(moved).message.find("set the region to eu-west-2") != std::string::npos);
  auto hostile = said(400, "Bad\x1b[31m");
  hostile.problem.message = std::string(5000, 'x') + "\n";
  CHECK(sentence(hostile).message.find('\x1b') == std::string::npos);
  CHECK(sentence(hostile).message.size() < 600);
  CHECK(sentence(unanswered(engine_errc::timed_out)).message.find("tcp://s3:443 did not answer; check")
        != std::string::npos);
  CHECK(parse_http_date("Sun, 29 Nov 2026 16:50:53 GMT") == timestamp{std::chrono::seconds{1795971053}});
  CHECK_FALSE(parse_http_date("yesterday").has_value());
  CHECK_FALSE(parse_http_date("").has_value());
}

namespace {

// As Amazon's API reference has them.
const std::string listing_text = R"(<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>p/</Prefix>
<IsTruncated>true</IsTruncated><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>
<Contents><Key>p/a&amp;b</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>"70ee"</ETag><Size>5000000000</Size></Contents>
<Contents><Key>p/c</Key><LastModified>2009-10-12T17:50:31.000Z</LastModified><Size>0</Size></Contents>
<CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes></ListBucketResult>)";
const std::string uploads_text = R"(<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Bucket>bucket</Bucket><NextKeyMarker>p/b</NextKeyMarker><NextUploadIdMarker>id2</NextUploadIdMarker><IsTruncated>true</IsTruncated>
<Upload><Key>p/a</Key><UploadId>id1</UploadId><Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload>
<Upload><Key>p/b</Key><UploadId>id2</UploadId></Upload></ListMultipartUploadsResult>)";
const std::string problem_text
  = R"(<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>It's gone</Message></Error>)";
const std::string begun_text
  = R"(<InitiateMultipartUploadResult><Bucket>b</Bucket><UploadId>VXBs</UploadId></InitiateMultipartUploadResult>)";
const std::string done_text = R"(

<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>"3858"</ETag></CompleteMultipartUploadResult>)";

} // namespace

TEST_CASE("S3's XML is read") {
  auto listing = read_s3_listing(listing_text).value();
  REQUIRE(listing.objects.size() == 2);
  CHECK(listing.objects[0].key == "p/a&b");
  CHECK(listing.objects[0].size == 5'000'000'000);
  CHECK(listing.objects[0].modified == parse_timestamp("2009-10-12T17:50:30Z"));
  CHECK(listing.next == "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");
  auto uploads = read_s3_uploads(uploads_text).value();
  REQUIRE(uploads.uploads.size() == 2);
  CHECK(uploads.uploads[0].id == "id1");
  CHECK(uploads.uploads[0].begun == parse_timestamp("2010-11-10T20:48:33Z"));
  CHECK(uploads.next_id == "id2");
  CHECK(read_s3_problem(problem_text)->code == "NoSuchKey");
  CHECK(read_s3_upload_id(begun_text) == "VXBs");
  CHECK(is_s3_completion(done_text));
  CHECK_FALSE(is_s3_completion(problem_text));
  CHECK_FALSE(is_s3_completion(""));
  CHECK_FALSE(read_s3_problem("<html>502 Bad Gateway</html>").has_value());
  CHECK(s3_completion({"\"a\"", "b<"}).find("<Part><PartNumber>2</PartNumber><ETag>b&lt;</ETag></Part>")
        != std::string::npos);
  CHECK_FALSE(read_s3_listing("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").has_value());
  // Entities are not expanded, however they are defined.
  auto bomb = R"(<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>)";
  CHECK(read_s3_problem(bomb)->code == "&b;");
}

TEST_CASE("XML that was cut, changed or nested without end is refused or read, and never worse") {
  randomness random{Catch::getSeed()};
  auto read_all = [](const std::string& text) {
    auto listing = read_s3_listing(text);
    auto uploads = read_s3_uploads(text);
    return static_cast<int>(listing.has_value()) + static_cast<int>(uploads.has_value())
         + static_cast<int>(read_s3_problem(text).has_value()) + static_cast<int>(read_s3_upload_id(text).has_value())
         + static_cast<int>(is_s3_completion(text));
  };
  for (const auto& whole : {listing_text, uploads_text, problem_text, begun_text, done_text}) {
    CHECK(read_all(whole) == 1);
    for (std::size_t end = 0; end < whole.size(); ++end)
      CHECK(read_all(whole.substr(0, end)) == 0);
    for (int i = 0; i < 2000; ++i) {
      auto text = whole;
      for (auto changes = 1 + below(random, 4); changes > 0; --changes)
        text[below(random, text.size())]
          = below(random, 2) == 0 ? static_cast<char>(random()) : "<>&;\"'/![]-"[below(random, 11)];
      CHECK(read_all(text) <= 1);
    }
  }
  std::string deep = "<Error>";
  for (int i = 0; i < 1'000'000; ++i)
    deep += "<a>";
  CHECK(read_all(deep) == 0);
}
