// Reports in the dialects of those who write them, cut off and hostile: what is counted is what is there.
#include "encoding/junit_reading.hpp"
#include "fixture/process.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_approx.hpp>

#include <stdexcept>
#include <string>

using namespace davit;
using namespace davit::encoding;
using namespace davit::test;

namespace {

test_counts counted(std::string_view text) {
  auto done = read(text);
  CHECK(done.end == junit_end::counted);
  CHECK(done.counts.reports == 1);
  return done.counts;
}

void has_counts(const test_counts& one, std::uint64_t tests, std::uint64_t failures, std::uint64_t errors,
                std::uint64_t skipped) {
  CAPTURE(one.tests, one.failures, one.errors, one.skipped);
  CHECK(one.tests == tests);
  CHECK(one.failures == failures);
  CHECK(one.errors == errors);
  CHECK(one.skipped == skipped);
}

// What the test about Catch2's own reports runs.
TEST_CASE("sample: passes", "[.junit_sample]") {
  SECTION("in one") {
    CHECK(true);
  }
  SECTION("and another") {
    CHECK(true);
  }
}

TEST_CASE("sample: fails twice", "[.junit_sample]") {
  CHECK(std::string{"<&\"\x1b"} == "other");
  CHECK(1 == 2);
}

TEST_CASE("sample: throws", "[.junit_sample]") {
  throw std::runtime_error("nobody catches it");
}

TEST_CASE("sample: skips", "[.junit_sample]") {
  SKIP("not today");
}

} // namespace

TEST_CASE("what Catch2 itself writes is counted", "[junit]") {
  auto made = run_process({"/proc/self/exe", "-r", "junit", "[.junit_sample]", "--durations", "yes"});
  CAPTURE(made.out, made.err);
  auto counts = counted(made.out);
  has_counts(counts, 6, 1, 1, 1); // each section is a test to it, and the case around them
  REQUIRE(counts.failed.size() == 2);
  CHECK(counts.failed[0].name.ends_with(".sample: fails twice"));
  CHECK(counts.failed[0].message.find("FAILED:") != std::string::npos);
  CHECK(counts.failed[1].name.ends_with(".sample: throws"));
  CHECK(counts.failed[1].message.find("nobody catches it") != std::string::npos);
}

TEST_CASE("reports of other programs are counted", "[junit]") {
  SECTION("pytest") {
    auto one
      = counted(R"xml(<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest"
      errors="1" failures="1" skipped="2" tests="5" time="0.310" timestamp="2026-01-01T00:00:00" hostname="h">
      <testcase classname="tests.test_net.TestRetry" name="test_first[a/b-1.5]" time="0.201" />
      <testcase classname="tests.test_net" name="test_second" time="0.001"><failure message="assert 1 == 2&#10; +  where 1 = f()">def test_second():
&gt;       assert f() == 2
E       assert 1 == 2</failure></testcase>
      <testcase classname="tests.test_net" name="test_third" time="0.000"
        ><skipped type="pytest.skip" message="no net">x</skipped></testcase>
      <testcase classname="tests.test_net" name="test_fourth" time="0.000"
        ><skipped type="pytest.xfail" message="" /></testcase>
      <testcase classname="tests.test_net" name="test_fifth"
        time="0.100"
        ><error message="failed on setup with &quot;OSError&quot;">fixture</error></testcase>
      </testsuite></testsuites>)xml");
    has_counts(one, 5, 1, 1, 2);
    CHECK(one.seconds == Catch::Approx(0.302));
    REQUIRE(one.failed.size() == 2);
    CHECK(one.failed[0].name == "tests.test_net.test_second");
    CHECK(one.failed[0].message.starts_with("assert 1 == 2\n +  where 1 = f()\ndef test_second():\n>  "));
    CHECK(one.failed[1].message.starts_with("failed on setup with \"OSError\"\nfixture"));
    REQUIRE(one.slowest.size() == 3);
    CHECK(one.slowest[0].name == "tests.test_net.TestRetry.test_first[a/b-1.5]");
    CHECK(one.slowest[0].seconds == Catch::Approx(0.201));
  }
  SECTION("GoogleTest: one that is not run is skipped") {
    auto one = counted(R"xml(<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.01" timestamp="2026-01-01T00:00:00.000" name="AllTests">
  <testsuite name="Net" tests="4" failures="1" disabled="1" skipped="1" errors="0" time="0.01" timestamp="2026-01-01T00:00:00.000">
    <testcase name="Sends" status="run" result="completed" time="0.002" timestamp="2026-01-01T00:00:00.000" classname="Net" />
    <testcase name="DISABLED_Waits" status="notrun" result="suppressed" time="0." timestamp="2026-01-01T00:00:00.000" classname="Net" />
    <testcase name="Skips" status="run" result="skipped" time="0." classname="Net"><skipped message="net.cc:4&#x0A;none"><![CDATA[net.cc:4
none]]></skipped></testcase>
    <testcase name="Retries" status="run" result="completed" time="0.008" classname="Net">
      <failure message="net.cc:7&#x0A;Expected equality of these values:&#x0A;  1&#x0A;  2" type=""><![CDATA[net.cc:7
Expected equality of these values:
  1
  2]]></failure>
      <failure message="net.cc:8&#x0A;Failed" type=""><![CDATA[net.cc:8
Failed]]></failure>
    </testcase>
  </testsuite>
</testsuites>)xml");
    has_counts(one, 4, 1, 0, 2);
    REQUIRE(one.failed.size() == 1);
    CHECK(one.failed[0].name == "Net.Retries");
    CHECK(one.failed[0].message.starts_with("net.cc:7\nExpected equality"));
    CHECK(one.failed[0].message.find("net.cc:8") == std::string::npos);
  }
  SECTION("Maven's surefire: a test that passed when it was run again has passed") {
    auto one = counted(R"xml(<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="surefire-test-report-3.0.xsd"
  name="org.example.NetTest" time="1,234.567" tests="4" errors="0" skipped="1" failures="1">
  <properties><property name="testcase" value="&lt;testcase/&gt;"/></properties>
  <testcase name="retries" classname="org.example.NetTest" time="1,234.5"/>
  <testcase name="ignored" classname="org.example.NetTest" time="0"><skipped/></testcase>
  <testcase name="flaky" classname="org.example.NetTest" time="0.067"><flakyFailure message="x" type="y"><stackTrace>z</stackTrace></flakyFailure></testcase>
  <testcase name="sends" classname="org.example.NetTest" time="0.01">
    <failure type="org.opentest4j.AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError: expected: <1> but was: <2>
	at org.example.NetTest.sends(NetTest.java:12)]]></failure>
    <rerunFailure message="again" type="x"><stackTrace>y</stackTrace></rerunFailure>
    <system-out><![CDATA[<testcase name="printed"/>]]></system-out>
  </testcase>
</testsuite>)xml");
    has_counts(one, 4, 1, 0, 1);
    CHECK(one.seconds == Catch::Approx(1234.577));
    REQUIRE(one.failed.size() == 1);
    CHECK(one.failed[0].message.starts_with("\norg.opentest4j.AssertionFailedError: expected: <1> but was: <2>\n"));
  }
  SECTION("go-junit-report") {
    auto one = counted(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"2\" failures=\"1\">\n\t<testsuite "
      "name=\"example.org/net\" "
      "tests=\"2\" failures=\"1\" errors=\"0\" id=\"0\" time=\"0.150\">\n\t\t<properties><property name=\"go.version\" "
      "value=\"1.22\"></property></properties>\n\t\t<testcase name=\"TestSend\" classname=\"example.org/net\" "
      "time=\"0.050\"></testcase>\n\t\t<testcase name=\"TestRetry/twice\" classname=\"example.org/net\" "
      "time=\"0.100\">\n\t\t\t<failure message=\"Failed\"><![CDATA[    net_test.go:9: got 1]]></failure>\n\t\t"
      "</testcase>\n\t\t<system-out><![CDATA[exit status 1]]></system-out>\n\t</testsuite>\n</testsuites>\n");
    has_counts(one, 2, 1, 0, 0);
    REQUIRE(one.failed.size() == 1);
    CHECK(one.failed[0].name == "example.org/net.TestRetry/twice");
    CHECK(one.failed[0].message == "Failed\n    net_test.go:9: got 1");
  }
  SECTION("jest-junit: the class is the name, and there is no message") {
    auto one = counted(R"xml(<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="jest tests" tests="2" failures="1" errors="0" time="1.2"><testsuite name="net" errors="0" failures="1" skipped="0" tests="2" time="0.7">
<testcase classname="net retries" name="net retries" time="0.003"><failure>Error: expect(received).toBe(expected) // Object.is equality
    at Object.toBe (/src/net.test.js:5:13)</failure></testcase>
<testcase classname="net sends" name="net sends" time="0.001"></testcase></testsuite></testsuites>)xml");
    has_counts(one, 2, 1, 0, 0);
    REQUIRE(one.failed.size() == 1);
    CHECK(one.failed[0].name == "net retries");
    CHECK(one.failed[0].message.starts_with("\nError: expect(received).toBe(expected)"));
  }
  SECTION("CTest") {
    auto one = counted(R"xml(<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux-c++" tests="4" failures="1" disabled="1" skipped="1" hostname="" time="3" timestamp="2026-01-01T00:00:00">
	<testcase name="sends" classname="sends" time="0.01" status="run"><system-out>ok</system-out></testcase>
	<testcase name="retries" classname="retries" time="2.5" status="fail"><failure message=""/><system-out>no</system-out></testcase>
	<testcase name="waits" classname="waits" time="0" status="disabled"><skipped message="Disabled"/><system-out>Disabled</system-out></testcase>
	<testcase name="needs" classname="needs" time="0" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
</testsuite>)xml");
    has_counts(one, 4, 1, 0, 2);
    REQUIRE(one.failed.size() == 1);
    CHECK(one.failed[0].name == "retries");
    CHECK(one.failed[0].message == "\n");
  }
}

TEST_CASE("a time is read as the programs write it", "[junit]") {
  for (auto [text, seconds] : std::vector<std::pair<const char*, double>>{{"0", 0},
                                                                          {"0.", 0},
                                                                          {".5", 0.5},
                                                                          {"12.25", 12.25},
                                                                          {" 3.5\n", 3.5},
                                                                          {"1,234.5", 1234.5},
                                                                          {"1,234,567.5", 1234567.5},
                                                                          {"1,234", 1234},
                                                                          {"0,123", 0.123},
                                                                          {"0,5", 0.5},
                                                                          {"12,25", 12.25},
                                                                          {"1e-05", 1e-5},
                                                                          {"1000000000", 1e9}}) {
    CAPTURE(text);
    auto read = junit_seconds(text);
    CHECK(read.has_value());
    CHECK(read.value_or(-1) == Catch::Approx(seconds));
  }
  for (auto* text : {"",        " ",       "-1",
                     "-345345", "nan",     "inf",
                     "1e10",    "1e999",   "0.5s",
                     "12 ms",   "1.2.3",   "1,2,3",
                     "1,23.4",  "1.234,5", "12345,678,901.5",
                     ",5,",     "0x10",    "--1",
                     "1,234,5", "1 2",     "0.00000000000000000000000000000000000000000000000000000000000000001"}) {
    CAPTURE(text);
    CHECK_FALSE(junit_seconds(text).has_value());
  }
  for (auto* comma : {",", ",5", ",,", ",123", "1,", "1,2345"}) // no reading beyond the end
    (void)junit_seconds(comma);
}

TEST_CASE("what is no report is not counted, and a report that is not whole is unread", "[junit]") {
  for (auto* text : {"", " \n", "no XML", "<project><testcase/></project>",
                     "<test-run><testsuite><testcase/></testsuite></test-run>", "<Testsuites/>", "\xff\xfe",
                     "{\"testsuites\":1}", "<?xml version=\"1.0\"?>", "<testsuites"}) {
    CAPTURE(text);
    CHECK(read(text).end == junit_end::other);
  }
  const std::string whole
    = "<testsuites><testsuite><testcase name='a' time='1'/><testcase name='b'><failure>x</failure></testcase>"
      "</testsuite></testsuites>";
  CHECK(read(whole).end == junit_end::counted);
  CHECK(read("\n\n  <?xml version='1.0'?>" + whole).end == junit_end::counted);
  CHECK(read("\xef\xbb\xbf" + whole).end == junit_end::counted);
  CHECK(read(whole + "<testsuites/>").end == junit_end::unread);
  for (std::size_t size = 12; size < whole.size(); ++size) {
    CAPTURE(size);
    auto cut = read(whole.substr(0, size));
    CHECK(cut.end == junit_end::unread);
    CHECK(cut.counts == test_counts{});
  }
  CHECK(read("<testsuites><testcase name='\x1b'/></testsuites>").end == junit_end::unread);
  CHECK(read("<testsuites><testcase name='\xff'/></testsuites>").end == junit_end::unread);
}

TEST_CASE("tests are counted wherever they stand, but not within a test: then nobody knows", "[junit]") {
  const std::string test = "<testcase name='a'><failure message='m'/></testcase>";
  for (const std::string& whole :
       {"<testsuites>" + test + "</testsuites>", "<testsuite><properties>" + test + "</properties></testsuite>",
        "<testsuite><system-out>" + test + "</system-out></testsuite>",
        "<testsuites><failure>" + test + "</failure></testsuites>",
        "<x:testsuites xmlns:x='urn:x'><x:testsuite>" + test + "</x:testsuite></x:testsuites>"}) {
    CAPTURE(whole);
    auto one = counted(whole);
    has_counts(one, 1, 1, 0, 0);
    CHECK(one.failed.at(0).message == "m\n");
  }
  for (const auto* around : {"", "system-out", "failure", "x:group"}) {
    auto begin = std::string{around}.empty() ? "" : "<" + std::string{around} + ">",
         end = std::string{around}.empty() ? "" : "</" + std::string{around} + ">";
    CAPTURE(around);
    auto done = read("<testsuite><testcase name='outer'>" + begin + test + end + "</testcase></testsuite>");
    CHECK(done.end == junit_end::unread);
    CHECK(done.counts == test_counts{});
  }
}

TEST_CASE("elements with a prefix are what they are without", "[junit]") {
  auto one = counted("<?xml version='1.0'?><ns:testsuites xmlns:ns='urn:junit'><ns:testsuite name='s'>"
                     "<ns:testcase classname='c' name='a' time='1'><ns:failure message='m'>t</ns:failure></ns:testcase>"
                     "<ns:testcase name='b'><ns:skipped/></ns:testcase><other:testcase name='d'><ns:error/>"
                     "</other:testcase></ns:testsuite></ns:testsuites>");
  has_counts(one, 3, 1, 1, 1);
  CHECK(one.failed.at(0).name == "c.a");
  CHECK(one.failed.at(0).message == "m\nt");
  CHECK(read("<testsuite:project><testcase/></testsuite:project>").end == junit_end::other);
}

TEST_CASE("a long message is counted, or its report is unread: never the rest alone", "[junit]") {
  for (std::size_t kibibytes : {1, 511, 512, 513, 700, 1000, 1500, 3000, 5000})
    for (std::size_t piece : {16 << 10, 128 << 10, 1 << 20})
      for (const char* kind : {"attribute", "text", "escaped"}) {
        CAPTURE(kibibytes, piece, kind);
        const std::string message(kibibytes << 10, 'm');
        std::string tests;
        for (int i = 0; i < 3; ++i)
          tests += "<testcase name='a'>"
                 + (*kind == 'a'   ? "<failure message='" + message + "'/>"
                    : *kind == 't' ? "<error>" + message + "</error>"
                                   : "<failure message='&#10;&lt;" + message + "&gt;'/>")
                 + "</testcase>";
        auto done = read("<testsuites>" + tests + "</testsuites>", piece);
        if (done.end == junit_end::counted) {
          CHECK(done.counts.tests == 3);
          CHECK(done.counts.failed.size() == 3);
        } else {
          CHECK(done.end == junit_end::unread);
          CHECK(done.counts == test_counts{});
        }
        if (kibibytes <= 1000 || *kind == 't')
          CHECK(done.end == junit_end::counted);
      }
}

TEST_CASE("nothing is expanded, nothing is loaded, and memory has a bound", "[junit]") {
  auto nothing = [](const std::string& text) {
    auto done = read(text);
    CHECK(done.end != junit_end::counted);
    CHECK(done.counts == test_counts{});
  };
  std::string laughs = "<!DOCTYPE testsuites [<!ENTITY a0 \"ha\">";
  for (int i = 1; i < 40; ++i)
    laughs
      += "<!ENTITY a" + std::to_string(i) + " \"&a" + std::to_string(i - 1) + ";&a" + std::to_string(i - 1) + ";\">";
  nothing(laughs + "]><testsuites><testcase name=\"&a39;\">&a39;</testcase></testsuites>");
  nothing("<!DOCTYPE testsuites [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><testsuites><testcase "
          "name=\"a\">&f;</testcase></testsuites>");
  nothing("<!DOCTYPE testsuites [<!ATTLIST testcase name CDATA \"" + std::string(1000, 'x')
          + "\">]><testsuites><testcase/></testsuites>");
  nothing("<testsuites><testcase name=\"&f;\"/></testsuites>");
  CHECK(counted("<!DOCTYPE testsuites SYSTEM \"junit.dtd\"><testsuites><testcase name=\"&lt;&f;\"/></testsuites>").tests
        == 1);
  constexpr std::size_t size = 8 << 20;
  nothing("<testsuites><testcase name=\"" + std::string(size, 'n') + "\"/></testsuites>");
  std::string deep = "<testsuites>", names = deep, attributes = "<testsuites";
  for (int i = 0; deep.size() < size; ++i) {
    auto number = std::to_string(i);
    deep += "<a>";
    if (names.size() < size)
      names += "<a" + number + "/>";
    if (attributes.size() < size)
      attributes += " a" + number + "=\"\"";
  }
  nothing(deep);
  nothing(names + "</testsuites>");
  nothing(attributes + "/>");
  // What is long but not kept does no harm.
  auto one
    = counted("<testsuites><testcase name=\"" + std::string(9000, 'n') + "\"><failure message=\""
              + std::string(100'000, 'm') + "\">" + std::string(size, 't') + "</failure></testcase></testsuites>");
  REQUIRE(one.failed.size() == 1);
  CHECK(one.failed[0].name == std::string(junit_text_bytes, 'n'));
  CHECK(one.failed[0].message == std::string(junit_text_bytes, 'm'));
}

TEST_CASE("other encodings than UTF-8 are read as far as it goes", "[junit]") {
  CHECK(counted("<?xml version='1.0' encoding='iso-8859-1'?><testsuites><testcase name='Gr\xf6\xdf"
                "e' time='1'/></testsuites>")
          .slowest[0]
          .name
        == "Größe");
  CHECK(counted("<?xml version='1.0' encoding='windows-1252'?><testsuites><testcase name='Gr\xf6\xdf"
                "e' time='1'/></testsuites>")
          .slowest[0]
          .name
        == "Gr\uFFFD\uFFFDe");
  std::string wide = "\xff\xfe";
  for (char c : std::string{"<testsuites><testcase name='a' time='1'/></testsuites>"})
    wide += std::string{c, '\0'};
  CHECK(counted(wide).slowest[0].name == "a");
}
