// Blobs in packs: found again by their places, and by the index alone.
#include "blobs/blob_fixture.hpp"
#include "blobs/directory_medium.hpp"
#include "blobs/pack.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit::blobs;
using namespace davit::test;

namespace {

struct object_in_memory final : object_reader {
  std::string bytes;
  explicit object_in_memory(std::string all) : bytes(std::move(all)) {}
  std::uint64_t size() const override { return bytes.size(); }
  result<std::size_t> read(std::uint64_t offset, std::span<char> into) override {
    if (offset >= bytes.size())
      return std::size_t{0};
    auto count = std::min<std::size_t>(into.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), count, into.begin());
    return count;
  }
};

struct writer_to_memory final : object_writer {
  std::string& bytes;
  bool* committed;
  writer_to_memory(std::string& to, bool* when) : bytes(to), committed(when) {}
  result<void> write(std::string_view piece) override {
    bytes += piece;
    return {};
  }
  result<void> commit() override {
    *committed = true;
    return {};
  }
};

} // namespace

TEST_CASE("what is packed comes back by its place, and the index knows all of it", "[blobs]") {
  scratch home;
  auto medium = directory_medium::open_folder(home / "objects").value();
  randomness random{6};
  auto key = random_key(random);
  std::vector<std::string> blobs;
  std::vector<pack_entry> places;
  pack_writer pack{medium->create(key).value()};
  for (int i = 0; i < 300; ++i) {
    blobs.push_back(random_bytes(random, i == 7 ? 1'000'000 : below(random, 4) == 0 ? 0 : below(random, 9000)));
    for (std::string_view rest = blobs.back(); !rest.empty();) {
      auto piece = rest.substr(0, 1 + below(random, 5000));
      pack.write(piece).value();
      rest.remove_prefix(piece.size());
    }
    places.push_back(pack.end_blob().value());
  }
  CHECK(medium->open(key).error().code == errc::missing);
  pack.write("x").value();
  CHECK(pack.commit().error().code == errc::invalid);
  places.push_back(pack.end_blob().value());
  blobs.emplace_back("x");
  pack.commit().value();

  std::shared_ptr<object_reader> object = medium->open(key).value();
  CHECK(read_pack_index(*object).value() == places);
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    CHECK(places[i].content == digest_of(blobs[i]));
    CHECK(drain(*read_packed(object, places[i]), 1 + below(random, 100'000)) == blobs[i]);
  }
}

TEST_CASE("a pack of which any byte changed, or that is cut off, is not taken for one", "[blobs]") {
  std::string bytes;
  bool committed = false;
  pack_writer pack{std::make_unique<writer_to_memory>(bytes, &committed), {3}};
  auto first = pack.add("first blob").value();
  pack.add("").value();
  auto last = pack.add("last").value();
  CHECK(pack.add("one more").error().code == errc::invalid);
  bytes.clear();
  pack_writer good{std::make_unique<writer_to_memory>(bytes, &committed)};
  for (auto one : {"first blob", "", "last"})
    good.add(one).value();
  good.commit().value();
  CHECK(committed);
  object_in_memory whole{bytes};
  REQUIRE(read_pack_index(whole).value().size() == 3);
  CHECK(read_pack_index(whole, {2}).error().code == errc::damaged);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto changed = std::make_shared<object_in_memory>(bytes);
    changed->bytes[i] = static_cast<char>(changed->bytes[i] ^ 0x10);
    auto index = read_pack_index(*changed);
    char buffer[100];
    auto in_first = i >= first.offset && i < first.offset + first.size,
         in_last = i >= last.offset && i < last.offset + last.size;
    CHECK(index.has_value() == (in_first || in_last));
    auto reader = read_packed(changed, first);
    CHECK(reader->read(buffer).value() == first.size);
    CHECK(reader->read(buffer).has_value() == !in_first);
    object_in_memory cut{bytes.substr(0, i)};
    CHECK_FALSE(read_pack_index(cut));
  }
  object_in_memory longer{bytes + '\0'};
  CHECK_FALSE(read_pack_index(longer));
  auto cut = read_packed(std::make_shared<object_in_memory>(bytes.substr(0, 12)), first);
  char buffer[100];
  CHECK(cut->read(buffer).value() == 4);
  CHECK(cut->read(buffer).error().code == errc::damaged);
}
