// Objects in a bucket of a real server, which dies and loses answers.
#include "blobs/medium_promises.hpp"
#include "fixture/environment.hpp"
#include "fixture/test_s3.hpp"
#include "messages/regular_file.hpp"
#include "shipping/s3_medium.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <future>
#include <map>
#include <optional>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace davit::shipping;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<s3_medium> open_bucket(const s3_settings& settings) {
  return s3_medium::open_bucket(settings, test_s3::environment).value();
}

/// Through a proxy of the test's.
std::unique_ptr<s3_medium> open_bucket(s3_settings settings, const cutting_proxy& by) {
  settings.endpoint = "http://127.0.0.1:" + std::to_string(by.port());
  return open_bucket(settings);
}

/// One that nobody else uses.
std::string some_prefix() {
  static int last = 0;
  return "blobs/test-" + std::to_string(++last);
}

/// What went wrong; none: nothing did.
template <class T>
std::optional<blobs::errc> code_of(const blobs::result<T>& outcome) {
  return outcome ? std::nullopt : std::optional{outcome.error().code};
}

std::string uploads_of(const test_s3& server) {
  return server.boto3("print(len(s3.list_multipart_uploads(Bucket=bucket).get('Uploads', [])), end='')");
}

} // namespace

#define NEEDS_S3()                                                                                                     \
  if (auto why = test_s3::unavailable(); !why.empty())                                                                 \
  SKIP(why)

TEST_CASE("a bucket keeps what a medium promises", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  auto prefix = some_prefix();
  auto medium = open_bucket(server.settings(prefix));
  SECTION("an object is there when it is committed, as a whole, and only then") {
    check_whole_or_absent(*medium);
  }
  SECTION("pages of a list have each object once, whatever their size") {
    check_pages(*medium, 40);
  }
  SECTION("threads share it") {
    check_threads(*medium, 10);
    CHECK(uploads_of(server) == "0");
  }
  SECTION("random calls do what they should") {
    check_random_calls(*medium, Catch::getSeed(), number_from("DAVIT_S3_CALLS", 200), 200'000);
    CHECK(uploads_of(server) == "0");
  }
  SECTION("at the top of the bucket, too") {
    check_pages(*open_bucket(server.settings("")), 10);
  }
  SECTION("beside other things") {
    server.boto3(
      "key = '01930000-0000-7000-8000-000000000001'\nfor name in ['/other', '/' + key + '/' + key, key, '/' + "
      "key + '0', '/0', '/x']:\n  s3.put_object(Bucket=bucket, Key='"
      + prefix + "' + name, Body=b'x')");
    check_pages(*medium, 10);
  }
}

TEST_CASE("another client reads bit for bit what was written, and the other way round", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  randomness random{Catch::getSeed()};
  auto settings = server.settings("a-b_c.d/e");
  settings.part_bytes = 5 * 1024 * 1024;
  auto medium = open_bucket(settings);
  scratch_folder theirs;
  std::map<std::string, std::string> ours;
  for (std::size_t size :
       {std::size_t{0}, std::size_t{1}, settings.part_bytes, settings.part_bytes + 1, std::size_t{23'456'789}}) {
    auto key = random_key(random);
    ours[key] = random_bytes(random, size);
    put(*medium, key, ours[key]);
  }
  server.boto3(
    "for one in s3.list_objects_v2(Bucket=bucket, Prefix='a-b_c.d/e/')['Contents']:\n  s3.download_file(bucket,"
    " one['Key'], '"
    + theirs.path().string() + "/' + one['Key'].split('/')[-1])");
  for (const auto& [key, bytes] : ours) {
    CHECK((regular_file{theirs / key, 64 << 20}.read() == bytes));
    CHECK((content_of(*medium, key) == bytes));
  }
  auto key = random_key(random);
  server.boto3("s3.put_object(Bucket=bucket, Key='a-b_c.d/e/" + key + "', Body=bytes(range(256)) * 5000)");
  std::string expected;
  for (int i = 0; i < 256 * 5000; ++i)
    expected += static_cast<char>(i);
  CHECK((content_of(*medium, key) == expected));
}

TEST_CASE("small reads in order make few requests", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  randomness random{Catch::getSeed()};
  auto medium = open_bucket(server.settings(some_prefix()));
  auto key = random_key(random);
  auto bytes = random_bytes(random, 3'000'000);
  put(*medium, key, bytes);
  auto reader = medium->open(key).value();
  std::string all;
  char piece[300];
  auto begin = std::chrono::steady_clock::now();
  while (all.size() < bytes.size()) {
    auto count = reader->read(all.size(), piece).value();
    REQUIRE(count > 0);
    all.append(piece, count);
  }
  CHECK((all == bytes));
  CHECK(std::chrono::steady_clock::now() - begin < 15s); // 10 000 requests take minutes
}

TEST_CASE("a server that dies in the middle of an upload and comes back gets the exact object", "[s3]") {
  NEEDS_S3();
  test_s3 server;
  randomness random{Catch::getSeed()};
  auto medium = open_bucket(server.settings());
  for (int round = 0; round < 3; ++round) {
    auto key = random_key(random);
    auto bytes = random_bytes(random, 4'000'000);
    std::promise<void> half;
    auto written = std::async(std::launch::async, [&]() -> blobs::result<void> {
      auto writer = medium->create(key).value();
      for (std::size_t at = 0; at < bytes.size(); at += 100'000) {
        if (auto done = writer->write(std::string_view{bytes}.substr(at, 100'000)); !done)
          return done;
        if (at == 2'000'000)
          half.set_value();
      }
      return writer->commit();
    });
    half.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds{below(random, 300)}); // anywhere, up to the commit
    server.kill();
    server.start();
    auto done = written.get();
    INFO((done ? "" : done.error().message));
    if (done) {
      CHECK((content_of(*medium, key) == bytes));
    } else { // it may be there, but not in part
      auto there = medium->open(key);
      CHECK((there ? content_of(*medium, key) == bytes : there.error().code == blobs::errc::missing));
    }
  }
}

TEST_CASE("a server that is gone for good makes writes and reads fail, and nothing is visible", "[s3]") {
  NEEDS_S3();
  test_s3 server;
  randomness random{Catch::getSeed()};
  auto settings = server.settings();
  settings.patience = 500ms;
  auto medium = open_bucket(settings);
  auto key = random_key(random), lost = random_key(random);
  put(*medium, key, random_bytes(random, 300'000));
  auto reader = medium->open(key).value();
  auto writer = medium->create(lost).value();
  writer->write(std::string(200'000, 'x')).value();
  server.kill();
  char piece[100];
  CHECK(code_of(reader->read(0, piece)) == blobs::errc::failed);
  CHECK(code_of(writer->write(std::string(200'000, 'x'))) == blobs::errc::failed);
  CHECK(code_of(writer->commit()) == blobs::errc::invalid);
  writer.reset(); // can't end the upload
  CHECK(medium->list({}, 10).error().message.find("check the endpoint") != std::string::npos);
  server.start();
  CHECK(reader->read(0, piece).value() == 100);
  CHECK(code_of(medium->open(lost)) == blobs::errc::missing);
  CHECK(uploads_of(server) == "1");
  CHECK(medium->abort_uploads(1h).value() == 0);
  CHECK(uploads_of(server) == "1");
  CHECK(medium->abort_uploads(-10s).value() == 1);
  CHECK(uploads_of(server) == "0");
}

TEST_CASE("a server that dies in the middle of a read and comes back gives the right bytes", "[s3]") {
  NEEDS_S3();
  test_s3 server;
  randomness random{Catch::getSeed()};
  auto settings = server.settings();
  settings.part_bytes = 4 << 20;
  auto medium = open_bucket(settings);
  auto key = random_key(random);
  auto bytes = random_bytes(random, 30'000'000);
  put(*medium, key, bytes);
  for (int round = 0; round < 2; ++round) {
    std::promise<void> begun;
    auto read = std::async(std::launch::async, [&]() -> std::string {
      auto reader = medium->open(key).value();
      std::string all, piece(500'000, '\0');
      while (all.size() < bytes.size()) {
        all.append(piece, 0, reader->read(all.size(), piece).value());
        if (all.size() == 2'000'000)
          begun.set_value();
      }
      return all;
    });
    begun.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds{below(random, 100)});
    server.kill();
    server.start();
    CHECK((read.get() == bytes));
  }
}

TEST_CASE("a lost answer is asked for again", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  randomness random{Catch::getSeed()};
  cutting_proxy proxy{server.port()};
  auto medium = open_bucket(server.settings(some_prefix()), proxy);
  auto key = random_key(random);
  auto bytes = random_bytes(random, 200'000);
  auto write = [&](const std::string& lose) {
    auto writer = medium->create(key).value();
    writer->write(std::string_view{bytes}.substr(0, 70'000)).value();
    proxy.lose_answer_to(lose);
    writer->write(std::string_view{bytes}.substr(70'000)).value();
    return writer->commit();
  };
  SECTION("to the completion of an upload") {
    CHECK(write("<CompleteMultipartUpload ").has_value());
  }
  SECTION("to a part") {
    CHECK(write("partNumber=2").has_value());
  }
  SECTION("to a small object") {
    bytes.resize(1000);
    auto writer = medium->create(key).value();
    writer->write(bytes).value();
    proxy.lose_answer_to("PUT /");
    CHECK(writer->commit().has_value());
  }
  CHECK((content_of(*medium, key) == bytes));
  CHECK(uploads_of(server) == "0");
  proxy.lose_answer_to("DELETE /");
  CHECK(medium->remove(key).has_value());
  CHECK(code_of(medium->open(key)) == blobs::errc::missing);
}

TEST_CASE("an upload that was ended behind a writer's back is an error, and nothing is visible", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  randomness random{Catch::getSeed()};
  auto medium = open_bucket(server.settings(some_prefix()));
  auto key = random_key(random);
  auto writer = medium->create(key).value();
  writer->write(std::string(100'000, 'x')).value();
  CHECK(medium->abort_uploads(-10s).value() == 1);
  auto failed = writer->commit();
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().message.find("something has ended the upload") != std::string::npos);
  CHECK(code_of(medium->open(key)) == blobs::errc::missing);
}

TEST_CASE("an object that was replaced while it was read gives its bytes or none", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  randomness random{Catch::getSeed()};
  auto prefix = some_prefix();
  auto medium = open_bucket(server.settings(prefix));
  auto key = random_key(random);
  put(*medium, key, std::string(3'000'000, 'a'));
  auto reader = medium->open(key).value();
  char piece[10];
  CHECK(reader->read(0, piece).value() == 10);
  server.boto3("s3.put_object(Bucket=bucket, Key='" + prefix + '/' + key + "', Body=b'b' * 3000000)");
  CHECK(code_of(reader->read(2'000'000, piece)) == blobs::errc::missing);
}

TEST_CASE("what is wrong with the bucket or the credentials is told, and the secret is not", "[s3]") {
  NEEDS_S3();
  auto& server = test_s3::common();
  auto settings = server.settings();
  auto key = std::string{"01930000-0000-7000-8000-000000000001"};
  settings.bucket = "no-such-bucket";
  auto nowhere = open_bucket(settings);
  CHECK(nowhere->open(key).error().message.find("make the bucket") != std::string::npos);
  CHECK(code_of(nowhere->open(key)) == blobs::errc::failed);
  CHECK(nowhere->list({}, 1).error().message.find("s3://no-such-bucket/blobs/test can't be listed") == 0);
  auto wrong_secret = [](const char* name) -> const char* {
    return std::string_view{name} == "AWS_SECRET_ACCESS_KEY" ? "not-the-secret" : test_s3::environment(name);
  };
  auto stranger = s3_medium::open_bucket(server.settings(), wrong_secret).value();
  auto refused = stranger->list({}, 1).error();
  CHECK(refused.message.find("check the AWS credentials") != std::string::npos);
  CHECK(refused.message.find("not-the-secret") == std::string::npos);
  CHECK_FALSE(stranger->open(key).has_value());
  auto nobody = s3_medium::open_bucket(server.settings(), [](const char* name) -> const char* {
                  return std::string_view{name} == "AWS_EC2_METADATA_DISABLED" ? "true" : nullptr;
                }).value();
  CHECK(nobody->list({}, 1).error().message.find("no AWS credentials") != std::string::npos);
}

TEST_CASE("a bucket behind TLS is used if its authority is known", "[s3]") {
  NEEDS_S3();
  test_s3 server{true};
  auto settings = server.settings();
  auto medium = open_bucket(settings);
  check_threads(*medium, 4);
  settings.tls_ca.clear();
  auto refused = open_bucket(settings)->list({}, 1);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("certificate") != std::string::npos);
}
