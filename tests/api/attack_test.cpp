// Attacks on a live agent's API: no token, the wrong one, too little of it; a web page; those who send too much, too
// slowly, or nothing.
#include "api/tokens.hpp"
#include "cli/client.hpp"
#include "fixture/certificates.hpp"
#include "fixture/process.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

#include <fstream>
#include <future>
#include <sstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

std::string read_file(const std::string& name) {
  std::ostringstream all;
  all << std::ifstream{name}.rdbuf();
  return all.str();
}

constexpr auto a_task = R"({"image":"busybox:test","command":["true"]})";

/// A connection to an address such as `127.0.0.1:7300`.
struct raw_connection : raw_client {
  explicit raw_connection(const std::string& address)
    : raw_client(static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)))) {}
};

} // namespace

TEST_CASE("where there are tokens, nobody comes in without one, and each does what its scopes say") {
  token_file tokens;
  auto reader = tokens.make("reader", "read"), submitter = tokens.make("ci", "submit,read"),
       canceller = tokens.make("stop", "cancel:all"), admin = tokens.make("root", "admin"),
       old = tokens.make("old", "admin", {"--expires", "1ms"});
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  auto status = [&](const std::string& token, const std::string& method, const std::string& target) {
    agent.use_token(token);
    return agent.http(method, target, {}, method == "POST" ? a_task : "").status;
  };
  std::string task = "/v1/tasks/";
  agent.use_token(admin);
  task += to_string(agent.submit(busybox("true")));
  for (const auto& wrong :
       {std::string{}, std::string{"davit_"}, std::string{"davit_x_y"}, "x" + admin, admin + "x",
        admin.substr(0, admin.size() - 1), old, reader.substr(0, 18) + admin.substr(18), std::string{"Basic x"}}) {
    INFO(wrong);
    for (auto [method, target] : std::vector<std::pair<std::string, std::string>>{{"GET", "/v1/tasks"},
                                                                                  {"POST", "/v1/tasks"},
                                                                                  {"GET", task},
                                                                                  {"POST", task + "/cancel"},
                                                                                  {"GET", task + "/logs"},
                                                                                  {"GET", "/v1/events"},
                                                                                  {"GET", "/v1/engines"},
                                                                                  {"GET", "/v1/agents"},
                                                                                  {"POST", "/v1/agents/test/drain"},
                                                                                  {"GET", "/metrics"},
                                                                                  {"GET", "/v1/nothing"},
                                                                                  {"DELETE", task}})
      CHECK(status(wrong, method, target) == 401);
    for (auto target : {"/healthz", "/openapi.json"})
      CHECK(status(wrong, "GET", target) == 200);
  }
  CHECK(status(reader, "GET", "/v1/tasks") == 200);
  CHECK(status(reader, "GET", "/metrics") == 200);
  CHECK(status(reader, "POST", "/v1/tasks") == 403);
  CHECK(status(reader, "POST", task + "/cancel") == 403);
  CHECK(status(reader, "POST", "/v1/agents/test/drain") == 403);
  CHECK(status(submitter, "POST", "/v1/tasks") == 202);
  CHECK(status(submitter, "POST", task + "/cancel") == 403);
  CHECK(status(canceller, "GET", task) == 403);
  CHECK(status(canceller, "POST", task + "/cancel") == 200);
  agent.use_token(reader);
  CHECK(agent.http("POST", "/v1/tasks", {}, a_task)
          .body.find("this needs the scope submit; token reader from 127.0.0.1 has read")
        != std::string::npos);
  // A token that is revoked is worth nothing soon after, and a file that is damaged lets nobody in.
  REQUIRE(run_process({DAVIT_BINARY, "token", "revoke", "reader", "--tokens-file", tokens.path}).exit_code == 0);
  CHECK(eventually([&] { return status(reader, "GET", "/v1/tasks") == 401; }));
  CHECK(status(submitter, "GET", "/v1/tasks") == 200);
  auto good = read_file(tokens.path);
  std::ofstream{tokens.path} << "{}x";
  CHECK(eventually([&] { return status(admin, "GET", "/v1/tasks") == 401; }));
  std::ofstream{tokens.path} << good;
  CHECK(eventually([&] { return status(admin, "GET", "/v1/tasks") == 200; }));
  ::chmod(tokens.path.c_str(), 0666);
  shell("touch -d '+5 seconds' " + tokens.path);
  CHECK(eventually([&] { return status(admin, "GET", "/v1/tasks") == 401; }));
  // Who did what is written down, and what the tokens are is not, anywhere.
  auto audit = read_file(agent.data() + "/audit.log");
  CHECK(
    audit.find(
      R"("caller":"token ci from 127.0.0.1","method":"POST","path":"/v1/tasks","status":202,"location":"/v1/tasks/)")
    != std::string::npos);
  CHECK(
    audit.find(R"("caller":"token stop from 127.0.0.1","method":"POST","path":")" + task + "/cancel\",\"status\":200")
    != std::string::npos);
  CHECK(audit.find(R"("method":"DELETE")") != std::string::npos);
  for (const auto& one : {reader, submitter, canceller, admin})
    for (const auto& text : {audit, good}) {
      CHECK(text.find(one) == std::string::npos);
      CHECK(text.find(one.substr(19)) == std::string::npos);
    }
}

TEST_CASE("a token's profile is the widest that its tasks get") {
  token_file tokens;
  auto narrow = tokens.make("narrow", "submit,read", {"--profile", "restricted"}),
       wide = tokens.make("wide", "submit,read");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.policy.profile = policy_profile::privileged;
                     settings.access.local_scopes = {};
                   }};
  CHECK(agent.http("GET", "/v1/tasks").status == 403); // the unix socket opens nothing by itself here
  auto spec = R"({"image":"busybox:test","user":"root","profile":"privileged"})";
  agent.use_token(wide);
  CHECK(agent.http("POST", "/v1/tasks", {}, spec).status == 202);
  agent.use_token(narrow);
  auto refused = agent.http("POST", "/v1/tasks", {}, spec);
  CHECK(refused.status == 403);
  CHECK(refused.body.find("\"rule\":\"user\"") != std::string::npos);
  auto id = agent.submit(busybox("true"));
  CHECK(agent.find(id).spec.profile == policy_profile::restricted);
}

TEST_CASE("more requests than a token may make are turned away, others' are not") {
  token_file tokens;
  auto busy = tokens.make("busy", "read"), quiet = tokens.make("quiet", "read");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 5;
                   }};
  agent.use_token(busy);
  int refused = 0;
  for (int i = 0; i < 60; ++i)
    refused += agent.http("GET", "/v1/tasks?limit=1").status == 429;
  CHECK(refused > 0);
  agent.use_token(quiet);
  CHECK(agent.http("GET", "/v1/tasks?limit=1").status == 200);
  agent.use_token(busy);
  CHECK(eventually([&] { return agent.http("GET", "/v1/tasks?limit=1").status == 200; }));
}

TEST_CASE("davit run goes on when its token has made too many requests") {
  token_file tokens;
  auto token = tokens.make("busy", "submit,read,cancel"), other = tokens.make("other", "admin"),
       watcher = tokens.make("watcher", "metrics");
  auto run = [&](int rate) {
    auto listen = listen_address();
    test_agent agent{{}, [&](agent_settings& settings) {
                       settings.api_listen = {listen};
                       settings.access.tokens_file = tokens.path;
                       settings.access.rate_limit = rate;
                     }};
    agent.use_token(token);
    while (rate != 0 && agent.http("GET", "/v1/tasks").status != 429) {
    }
    auto running = std::async(std::launch::async, [&] {
      return run_process({DAVIT_BINARY, "run", "--host", "tcp://" + listen, "busybox:test"}, {},
                         {"DAVIT_TOKEN=" + token});
    });
    // What it runs waits for an engine; after some time somebody cancels it.
    agent.use_token(other);
    std::string id;
    CHECK(eventually([&] {
      auto answer = agent.http("GET", "/v1/tasks");
      if (answer.status != 200)
        return false;
      auto page = boost::json::parse(answer.body);
      if (const auto& tasks = page.at("tasks").as_array(); !tasks.empty())
        id = tasks.front().at("id").as_string();
      return !id.empty();
    }));
    std::this_thread::sleep_for(1s);
    CHECK(eventually([&] { return agent.http("POST", "/v1/tasks/" + id + "/cancel").status == 200; }));
    auto result = running.get();
    agent.use_token(watcher);
    CHECK((agent.metric("davit_http_limited_total{limit=\"rate\"}") > 1) == (rate != 0));
    return std::pair{result.exit_code, result.err.substr(result.err.find("cancelled"))};
  };
  auto usual = run(0), limited = run(1);
  CHECK(limited == usual);
}

TEST_CASE("a web page of somebody else's reaches nothing: neither by a name of its own nor across origins") {
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) { settings.api_listen = {listen}; }};
  auto port = listen.substr(listen.find(':'));
  auto request = [&](const std::string& method, const std::string& headers) {
    raw_connection connection{listen};
    connection.send(method + " /v1/tasks HTTP/1.1\r\nConnection: close\r\nContent-Length: "
                    + std::to_string(std::string{a_task}.size()) + "\r\n" + headers + "\r\n" + a_task);
    return connection.read().substr(9, 3);
  };
  for (auto host : {"evil.example", "evil.example:7300", "localhost.evil.example", "127.0.0.1.evil.example",
                    "169.254.169.254", "10.0.0.1", "0x7f.1", "", "[::2]", "localhost@evil.example"}) {
    INFO(host);
    for (auto method : {"POST", "GET"})
      CHECK(request(method, "Host: " + std::string{host} + "\r\n") == "403");
  }
  CHECK(request("POST", "") == "400");
  for (auto host : {"localhost", "127.0.0.1", "[::1]", "127.0.0.2"})
    CHECK(request("POST", "Host: " + std::string{host} + port + "\r\n") == "202");
  for (auto origin :
       {"http://evil.example", "https://evil.example", "null", "http://localhost:1", "file://", "http://127.0.0.1"})
    CHECK(request("POST", "Host: 127.0.0.1" + port + "\r\nOrigin: " + origin + "\r\n") == "403");
  CHECK(request("POST", "Host: 127.0.0.1" + port + "\r\nOrigin: http://127.0.0.1" + port + "\r\n") == "202");
}

TEST_CASE("a body is asked for and read after its header was authorized, and not from whoever is turned away") {
  token_file tokens;
  auto token = tokens.make("ci", "submit"), reader = tokens.make("reader", "read");
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  auto header = [](const std::string& one) {
    return "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nAuthorization: "
           "Bearer "
         + one + "\r\nContent-Length: " + std::to_string(std::string_view{a_task}.size()) + "\r\n\r\n";
  };
  for (auto [wrong, status] : {std::pair{std::string{"davit_x_y"}, "401"}, std::pair{reader, "403"}}) {
    raw_connection client{listen};
    client.send(header(wrong));
    auto answer = client.read();
    CHECK(answer.starts_with("HTTP/1.1 " + std::string{status}));
    CHECK(answer.find("100 Continue") == std::string::npos);
  }
  for (auto [wrong, status] : {std::pair{std::string{"davit_x_y"}, "401"}, std::pair{reader, "403"}}) {
    raw_connection client{listen}; // it does not ask, and its body never comes
    client.send("POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + wrong
                + "\r\nContent-Length: 4000000\r\n\r\n");
    auto answer = client.read();
    CHECK(answer.starts_with("HTTP/1.1 " + std::string{status}));
    CHECK(answer.find("Connection: close") != std::string::npos);
  }
  raw_connection client{listen};
  client.send(header(token));
  CHECK(client.read("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send(a_task);
  CHECK(client.read().starts_with("HTTP/1.1 202"));
  auto audit = read_file(agent.data() + "/audit.log");
  CHECK(std::count(audit.begin(), audit.end(), '\n') == 5);
}

TEST_CASE("TLS and client certificates: whoever does not show the right one does not get as far as a request") {
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "ca"}, other{folder.path().string(), "other"};
  auto server = authority.issue("server"), client = authority.issue("client"), stranger = other.issue("stranger");
  token_file tokens;
  auto token = tokens.make("t", "admin");
  auto listen = listen_address();
  auto settings_of = [&](agent_settings& settings) {
    settings.api_listen = {listen};
    settings.access.tokens_file = tokens.path;
    settings.access.tls_certificate = server.certificate;
    settings.access.tls_key = server.key;
    settings.access.tls_client_ca = authority.file();
  };
  test_agent agent{{}, settings_of};
  agent.trust(authority.file(), client);
  CHECK(agent.http("GET", "/v1/tasks").status == 401); // the certificate alone is not enough
  agent.use_token(token);
  CHECK(agent.http("GET", "/v1/tasks").status == 200);
  agent.submit(busybox("true"));
  CHECK(read_file(agent.data() + "/audit.log").find("token t from 127.0.0.1 certificate client") != std::string::npos);
  agent.trust(authority.file(), stranger);
  CHECK_THROWS(agent.http("GET", "/healthz"));
  agent.trust(authority.file());
  CHECK_THROWS(agent.http("GET", "/healthz"));
  agent.trust(other.file(), client);
  CHECK_THROWS(agent.http("GET", "/healthz"));
  raw_connection plain{listen};
  plain.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(plain.read().find("HTTP/1.1") == std::string::npos);
  // The command line speaks it too.
  std::filesystem::create_directories(folder / "certs");
  std::filesystem::copy_file(authority.file(), folder / "certs/ca.pem");
  std::filesystem::copy_file(client.certificate, folder / "certs/cert.pem");
  std::filesystem::copy_file(client.key, folder / "certs/key.pem");
  auto listed = run_process({DAVIT_BINARY, "ps", "--host", "https://" + listen}, {},
                            {"DAVIT_TOKEN=" + token, "DAVIT_CERT_PATH=" + (folder / "certs")});
  INFO(listed.err);
  CHECK(listed.exit_code == 0);
  CHECK(run_process({DAVIT_BINARY, "ps", "--host", "https://" + listen}, {}, {"DAVIT_CERT_PATH=" + (folder / "certs")})
          .err.find("token")
        != std::string::npos);
}

TEST_CASE("a certificate that is renewed is shown from the next connection on, and half a renewal breaks nothing") {
  scratch_folder folder;
  certificate_authority before{folder.path().string(), "before"}, after{folder.path().string(), "after"};
  auto first = before.issue("server"), second = after.issue("renewed");
  token_file tokens;
  tokens.make("t", "admin");
  test_agent agent{{}, [&, listen = listen_address()](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.tls_certificate = first.certificate;
                     settings.access.tls_key = first.key;
                   }};
  agent.trust(before.file());
  CHECK(agent.http("GET", "/healthz").status == 200);
  auto renew = [](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
    shell("touch -d '+5 seconds' " + to);
  };
  renew(second.certificate, first.certificate);
  shell("true");
  CHECK(agent.http("GET", "/healthz").status == 200); // the key does not fit yet: the old pair serves on
  renew(second.key, first.key);
  api_client fresh{
    *transport::parse_endpoint("https://" + std::string{"localhost:1"}, transport::tls_settings{after.file(), "", ""})};
  agent.trust(after.file());
  CHECK(agent.http("GET", "/healthz").status == 200);
}

TEST_CASE("a thousand connections that never say anything, and some that say it slowly, keep nobody out") {
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) { settings.api_listen = {listen}; }};
  std::vector<raw_connection> silent;
  for (int i = 0; i < 1000; ++i)
    silent.emplace_back(listen);
  for (std::size_t i = 0; i < 300; ++i)
    silent[i].send("POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-");
  CHECK(agent.http("POST", "/v1/tasks", {}, a_task).status == 202);
  // More than it takes at all: those that have been silent for longest give way.
  for (int i = 0; i < 1400; ++i)
    silent.emplace_back(listen);
  for (int i = 0; i < 20; ++i)
    CHECK(agent.http("GET", "/v1/tasks?limit=1").status == 200);
  // A header that does not end is given up, whoever drips on.
  CHECK(eventually([&] { return !silent[299].send("X"); }, 30s));
}

TEST_CASE("bodies, headers and paths that are made to do harm are refused, and the agent serves on") {
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) { settings.api_listen = {listen}; }};
  auto answer_to = [&](const std::string& request) {
    raw_connection connection{listen};
    connection.send(request);
    return connection.read();
  };
  auto post = [](const std::string& headers) {
    return "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n";
  };
  CHECK(answer_to(post("Content-Length: 1000000000\r\n")).starts_with("HTTP/1.1 413"));
  CHECK(answer_to(post("Content-Length: 18446744073709551615\r\n")).starts_with("HTTP/1.1 4"));
  CHECK(answer_to(post("Content-Length: -1\r\n")).starts_with("HTTP/1.1 400"));
  CHECK(answer_to(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")).starts_with("HTTP/1.1 400"));
  // Whoever reads these otherwise takes a body for a request.
  for (auto encoding :
       {"xchunked", "chunked, gzip", "gzip, chunked", "identity", "chunked\r\nTransfer-Encoding: chunked"}) {
    auto answer = answer_to("POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " + std::string{encoding}
                            + "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CAPTURE(encoding, answer);
    CHECK(answer.starts_with("HTTP/1.1 400"));
    CHECK(answer.find("\nHTTP/1.1") == std::string::npos);
  }
  CHECK(answer_to(post("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n")).starts_with("HTTP/1.1 400"));
  for (auto begin : {"1;", "0\r\nx: "}) { // a chunk's extension, and a trailer, that do not end
    raw_connection endless{listen};
    endless.send(post("Transfer-Encoding: chunked\r\n") + begin);
    auto refused = false;
    for (int i = 0; i < 400 && !refused; ++i)
      refused = !endless.send(std::string(100'000, 'a'));
    CAPTURE(begin);
    CHECK(refused);
  }
  {
    raw_connection endless{listen};
    endless.send(post("Transfer-Encoding: chunked\r\n"));
    std::string chunk = "100000\r\n" + std::string(0x100000, 'x') + "\r\n";
    bool refused = false;
    for (int i = 0; i < 1024 && !refused; ++i) // a gigabyte, if it were taken
      refused = !endless.send(chunk);
    CHECK(refused);
  }
  CHECK(answer_to("GET / HTTP/1.1\r\n" + std::string(100'000, 'a') + ": x\r\n\r\n").starts_with("HTTP/1.1 431"));
  std::string many = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  for (int i = 0; i < 5000; ++i)
    many += "X-" + std::to_string(i) + ": y\r\n";
  CHECK(answer_to(many + "\r\n").starts_with("HTTP/1.1 431"));
  for (std::string target :
       {"/../etc/passwd", "/v1/tasks/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/tasks/..%2f..%2fetc%2fpasswd",
        "//etc/passwd", "/v1/tasks/%00", "/v1/tasks/%", "/v1/tasks/%zz", "http://evil/v1/tasks", "*", "/v1//tasks///x",
        "/v1/tasks/';DROP TABLE task;--", "/v1/tasks/%27%3BDROP%20TABLE%20task%3B--", "/v1/tasks/0%20OR%201=1"}) {
    auto answer = answer_to("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    INFO(target << " " << answer.substr(0, 80));
    CHECK(answer.starts_with("HTTP/1.1 4"));
    CHECK(answer.find("root:") == std::string::npos);
  }
  for (std::string request :
       {"", "\r\n\r\n", "\x16\x03\x01\x02\x01\x01", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "SSH-2.0-x\r\n"}) {
    raw_connection connection{listen};
    connection.send(request);
    ::shutdown(connection.fd, SHUT_WR);
    auto answer = connection.read();
    CHECK((answer.empty() || answer.starts_with("HTTP/1.1 4")));
  }
  for (const std::string& body :
       {std::string(3'000'000, '['), std::string(100'000, '{'),
        std::string{R"({"image":")"} + std::string(3'000'000, 'a') + "\"}", std::string{"{\"image\":\"\\ud800\"}"},
        std::string{"\xff\xfe{}"}, std::string{"null"}, std::string{R"({"image":"a","image":"b"})"},
        std::string{R"({"image":"a","priority":1e999})"}, std::string{R"({"image":"a","env":{"A\u0000B":"x"}})"}}) {
    auto status = agent.http("POST", "/v1/tasks", {}, body).status;
    INFO(body.substr(0, 40));
    CHECK((status == 400 || status == 403 || status == 413));
  }
  CHECK(agent.http("POST", "/v1/tasks", {}, a_task).status == 202);
}

TEST_CASE("an address that can be reached from elsewhere needs TLS and tokens") {
  scratch_folder certificates;
  auto own = certificate_authority{certificates.path().string(), "ca"}.issue("api");
  scratch_folder folder;
  auto file = folder / "davit.conf";
  auto check = [&](const std::string& api) {
    std::ofstream{file} << "davit {\n  agent {\n    data-dir = \"" << folder.path().string() << "\"\n  }\n  api {\n"
                        << api << "  }\n}\n";
    return run_process({DAVIT_BINARY, "check-config", file});
  };
  for (std::string listen : {"0.0.0.0:7300", "10.1.2.3:7300", "[::]:7300", "example.org:7300"}) {
    auto bare = check("    listen = \"" + listen + "\"\n");
    CHECK(bare.exit_code == 2);
    CHECK(bare.err.find(file + ":6: davit.api.listen: ") != std::string::npos);
    CHECK(bare.err.find("needs TLS") != std::string::npos);
    CHECK(check("    listen = \"" + listen + "\"\n    tokens-file = \"t\"\n").exit_code == 2);
    CHECK(check("    listen = \"" + listen + "\"\n    tls-certificate = \"c\"\n    tls-key = \"k\"\n").exit_code == 2);
    CHECK(check("    listen = \"" + listen + "\"\n    tls-certificate = \"" + own.certificate + "\"\n    tls-key = \""
                + own.key + "\"\n    tokens-file = \"t\"\n")
            .exit_code
          == 0);
  }
  CHECK(check("    tls-certificate = \"c\"\n").err.find("go together") != std::string::npos);
  CHECK(check("    tls-client-ca = \"c\"\n").err.find("need TLS") != std::string::npos);
  CHECK(check("    listen = [\"unix:///x\", \"0.0.0.0:7300\"]\n").err.find("0.0.0.0 can be reached")
        != std::string::npos);
  CHECK(check("    listen = [\"127.0.0.1:7300\", \"tcp://127.0.0.1:7300\"]\n").err.find("twice") != std::string::npos);
  CHECK(check("    listen = []\n").err.find("at least one address") != std::string::npos);
  CHECK(check("    listen = \"unix:///x\"\n    tls-certificate = \"c\"\n    tls-key = \"k\"\n")
          .err.find("no TLS on a unix socket")
        != std::string::npos);
  CHECK(check("    local-scopes = [\"everything\"]\n").err.find("submit, read, cancel, admin") != std::string::npos);
}

TEST_CASE("what somebody else wrote moves no cursor, colours nothing and reads as what it is") {
  CHECK(printable("plain \xc3\xa4\xe2\x82\xac text") == "plain \xc3\xa4\xe2\x82\xac text");
  CHECK(printable("\x1b[2J\x1b]0;title\x07") == "\\x1b[2J\\x1b]0;title\\x07");
  CHECK(printable("a\nb\tc\rd") == "a b c\\x0dd");
  CHECK(printable("\xc2\x9b"
                  "31m")
        == "\\xc2\\x9b31m");
  CHECK(printable("user\xe2\x80\xae"
                  "gpj.exe")
        == "user\\xe2\\x80\\xaegpj.exe");
  CHECK(printable("\xe2\x80\x8b\xe2\x81\xa6") == "\\xe2\\x80\\x8b\\xe2\\x81\\xa6");
  CHECK(printable("\xc2") == "\\xc2");
}
