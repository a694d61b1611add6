#include "blobs/medium_promises.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace davit::test {

using namespace davit::blobs;

std::string content_of(medium& from, const std::string& key) {
  auto reader = from.open(key).value();
  std::string bytes(reader->size(), '\0');
  if (reader->read(0, bytes).value() != bytes.size())
    throw std::runtime_error("short");
  return bytes;
}

void put(medium& into, const std::string& key, std::string_view bytes) {
  auto writer = into.create(key).value();
  writer->write(bytes).value();
  writer->commit().value();
}

std::map<std::string, std::uint64_t> all_in(medium& from, std::size_t page_size) {
  std::map<std::string, std::uint64_t> all;
  std::string at;
  do {
    auto page = from.list(at, page_size).value();
    CHECK(page.objects.size() <= page_size);
    for (const auto& one : page.objects)
      CHECK(all.emplace(one.key, one.size).second);
    at = page.next;
  } while (!at.empty());
  return all;
}

void check_whole_or_absent(medium& medium) {
  randomness random{2};
  auto key = random_key(random), other = random_key(random), empty = random_key(random);
  auto writer = medium.create(key).value();
  CHECK(writer->write("first ").has_value());
  CHECK(medium.open(key).error().code == errc::missing);
  CHECK(medium.list({}, 10).value().objects.empty());
  CHECK(writer->write("second").has_value());
  CHECK(writer->commit().has_value());
  CHECK(writer->write("more").error().code == errc::invalid);
  CHECK(writer->commit().error().code == errc::invalid);
  CHECK(content_of(medium, key) == "first second");

  auto reader = medium.open(key).value();
  char part[4];
  CHECK(reader->read(6, part).value() == 4);
  CHECK(std::string_view{part, 4} == "seco");
  CHECK(reader->read(10, part).value() == 2);
  CHECK(reader->read(12, part).value() == 0);
  CHECK(reader->read(~0ull, part).value() == 0);
  CHECK(reader->read(0, {}).value() == 0);

  put(medium, empty, "");
  CHECK(medium.open(empty).value()->size() == 0);
  CHECK(medium.open(empty).value()->read(0, part).value() == 0);
  medium.create(other).value()->write("abandoned").value();
  CHECK(medium.open(other).error().code == errc::missing);

  auto listed = medium.list({}, 10).value().objects;
  REQUIRE(listed.size() == 2);
  auto age = std::chrono::system_clock::now() - listed[0].committed;
  CHECK(std::chrono::abs(age) < std::chrono::minutes{10});

  CHECK(medium.remove(key).has_value());
  CHECK(medium.remove(key).has_value());
  CHECK(medium.open(key).error().code == errc::missing);
  auto after = reader->read(0, part); // whoever reads it gets its bytes or none
  CHECK((after ? std::string_view{part, *after} == "firs" : after.error().code == errc::missing));
  for (auto bad : {"", "x", "../../../../../../../../etc/passwd", "01930000-0000-7000-8000-00000000000G",
                   "01930000-0000-7000-8000-0000000000/.", "01930000-0000-7000-8000-00000000000A"}) {
    CHECK(medium.create(bad).error().code == errc::invalid);
    CHECK(medium.open(bad).error().code == errc::invalid);
    CHECK(medium.remove(bad).error().code == errc::invalid);
  }
}

void check_pages(medium& medium, std::size_t objects) {
  randomness random{3};
  std::map<std::string, std::uint64_t> expected;
  for (std::size_t i = 0; i < objects; ++i) {
    auto key = random_key(random);
    put(medium, key, std::string(i, 'x'));
    expected[key] = i;
  }
  for (std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{7}, objects - 1, objects, objects + 1,
                           std::size_t{1000}, std::size_t{100'000}})
    CHECK(all_in(medium, size) == expected);
  CHECK(medium.list("x", 1).error().code == errc::invalid);
  CHECK(medium.list({}, 0).error().code == errc::invalid);
  auto before = medium.list({}, objects / 5).value();
  for (const auto& one : before.objects) // also the one where the next page begins
    medium.remove(one.key).value();
  auto rest = medium.list(before.next, 1000).value();
  CHECK(rest.objects.size() == objects - objects / 5);
  CHECK(rest.next.empty());
}

std::size_t check_threads(medium& medium, int rounds) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    threads.emplace_back([&, seed] {
      randomness random{seed + 100};
      for (int i = 0; i < rounds; ++i) {
        auto key = random_key(random);
        auto bytes = random_bytes(random, below(random, 5000));
        put(medium, key, bytes);
        wrong += content_of(medium, key) != bytes;
        if (i % 2 != 0)
          medium.remove(key).value();
        if (i % 5 == 0)
          medium.create(random_key(random)).value()->write("abandoned").value();
      }
    });
  for (auto& one : threads)
    one.join();
  CHECK(wrong == 0);
  auto left = static_cast<std::size_t>(4 * ((rounds + 1) / 2));
  CHECK(all_in(medium, 7).size() == left);
  return left;
}

namespace {

/// The calls, and what they should do.
class random_calls {
public:
  random_calls(medium& medium, std::uint64_t seed, std::size_t most_bytes)
    : medium_(medium), random_(seed), most_bytes_(most_bytes) {}

  void one() {
    switch (below(random_, 12)) {
      case 0:
      case 1:
        return begin();
      case 2:
      case 3:
      case 4:
        return write();
      case 5:
        return commit();
      case 6:
        return abandon();
      case 7:
        return open();
      case 8:
      case 9:
        return read();
      case 10:
        return remove();
      default:
        return list();
    }
  }

  void list() {
    std::map<std::string, std::uint64_t> expected;
    for (const auto& [key, bytes] : there_)
      expected[key] = bytes.size();
    CHECK(all_in(medium_, 1 + below(random_, there_.size() + 3)) == expected);
  }

  void read_all() {
    for (const auto& [key, bytes] : there_)
      CHECK((content_of(medium_, key) == bytes));
  }

private:
  struct writing {
    std::string key, bytes;
    std::unique_ptr<object_writer> writer;
  };
  struct reading {
    std::string key, bytes;
    std::unique_ptr<object_reader> reader;
  };

  template <class All>
  auto any_of(All& all) {
    return std::next(all.begin(), static_cast<std::ptrdiff_t>(below(random_, all.size())));
  }

  void begin() {
    auto key = random_key(random_);
    writing_.push_back({key, {}, medium_.create(key).value()});
  }
  void write() {
    if (writing_.empty())
      return;
    auto& one = *any_of(writing_);
    auto piece = random_bytes(random_, below(random_, most_bytes_));
    one.bytes += piece;
    CHECK(one.writer->write(piece).has_value());
    CHECK(medium_.open(one.key).error().code == errc::missing);
  }
  void commit() {
    if (writing_.empty())
      return;
    auto one = any_of(writing_);
    CHECK(one->writer->commit().has_value());
    there_[one->key] = std::move(one->bytes);
    writing_.erase(one);
  }
  void abandon() {
    if (writing_.empty())
      return;
    auto one = any_of(writing_);
    auto key = one->key;
    writing_.erase(one);
    CHECK(medium_.open(key).error().code == errc::missing);
  }
  void open() {
    if (there_.empty())
      return;
    auto& [key, bytes] = *any_of(there_);
    auto reader = medium_.open(key).value();
    CHECK(reader->size() == bytes.size());
    if (reading_.size() > 4)
      reading_.erase(reading_.begin());
    reading_.push_back({key, bytes, std::move(reader)});
  }
  void read() {
    if (reading_.empty())
      return;
    auto& one = *any_of(reading_);
    auto offset = below(random_, one.bytes.size() + 10);
    std::string into(below(random_, most_bytes_), '\0');
    auto expected = offset < one.bytes.size() ? one.bytes.substr(offset, into.size()) : std::string{};
    auto count = one.reader->read(offset, into);
    if (!count) {
      CHECK(count.error().code == errc::missing);
      CHECK_FALSE(there_.contains(one.key));
      return;
    }
    into.resize(*count);
    CHECK((into == expected));
  }
  void remove() {
    auto key = there_.empty() || below(random_, 4) == 0 ? random_key(random_) : any_of(there_)->first;
    CHECK(medium_.remove(key).has_value());
    there_.erase(key);
    CHECK(medium_.open(key).error().code == errc::missing);
  }

  medium& medium_;
  randomness random_;
  std::size_t most_bytes_;
  std::map<std::string, std::string> there_;
  std::vector<writing> writing_;
  std::vector<reading> reading_;
};

} // namespace

void check_random_calls(medium& medium, std::uint64_t seed, unsigned calls, std::size_t most_bytes) {
  random_calls calls_made{medium, seed, most_bytes};
  for (unsigned i = 0; i < calls; ++i)
    calls_made.one();
  calls_made.list();
  calls_made.read_all();
}

} // namespace davit::test
