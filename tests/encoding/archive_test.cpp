// Archives from containers: what is in them is somebody else's choice, where it goes is not.
#include "fixture/test_engine.hpp"
#include "encoding/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <functional>
#include <sstream>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using namespace davit::encoding;

namespace {

struct tar_maker {
  std::vector<char> bytes = std::vector<char>(4 << 20);
  std::size_t used = 0;
  archive* to = archive_write_new();

  tar_maker() {
    archive_write_set_format_pax_restricted(to);
    archive_write_open_memory(to, bytes.data(), bytes.size(), &used);
  }
  ~tar_maker() { archive_write_free(to); }

  tar_maker& add(const std::string& name, unsigned type, const std::string& content,
                 const std::function<void(archive_entry*)>& more = {}, int mode = 0644) {
    auto entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, static_cast<mode_t>(mode));
    archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    if (more)
      more(entry);
    archive_write_header(to, entry);
    if (!content.empty())
      archive_write_data(to, content.data(), content.size());
    archive_entry_free(entry);
    return *this;
  }
  tar_maker& file(const std::string& name, const std::string& content = "x", int mode = 0644) {
    return add(name, AE_IFREG, content, {}, mode);
  }
  tar_maker& link(const std::string& name, const std::string& target) {
    return add(name, AE_IFLNK, "", [&](archive_entry* e) { archive_entry_set_symlink(e, target.c_str()); });
  }
  tar_maker& hard_link(const std::string& name, const std::string& target) {
    return add(name, AE_IFREG, "", [&](archive_entry* e) { archive_entry_set_hardlink(e, target.c_str()); });
  }
  std::string tar() {
    archive_write_close(to);
    return {bytes.data(), used};
  }
};

std::string read_file(const std::string& name) {
  std::ostringstream all;
  all << std::ifstream{name}.rdbuf();
  return all.str();
}

/// The error of an archive; nothing outside of the folder may have come to be or have changed.
std::string refusal(tar_maker& maker, const archive_limits& limits = {}) {
  scratch_folder outer;
  auto inside = outer.path() / "in" / "side";
  std::filesystem::create_directories(inside);
  std::ofstream{outer / "victim"} << "untouched";
  auto done = unpack(maker.tar(), inside, limits);
  CHECK(read_file(outer / "victim") == "untouched");
  std::size_t outside = 0;
  for (const auto& one : std::filesystem::directory_iterator{outer.path()})
    outside += one.path().filename() != "in" && one.path().filename() != "victim";
  for (const auto& one : std::filesystem::directory_iterator{outer.path() / "in"})
    outside += one.path().filename() != "side";
  CHECK(outside == 0);
  return done ? "" : done.error().message;
}

} // namespace

TEST_CASE("an archive is unpacked as it is: folders, files, links that stay inside, modes without set-id") {
  scratch_folder folder;
  tar_maker maker;
  maker.add("out/", AE_IFDIR, "")
    .file("out/report.txt", "all good\n")
    .file("out/deep/er/run.sh", "#!/bin/sh\n", 06777)
    .link("out/latest", "deep/er/run.sh")
    .link("out/deep/up", "../report.txt")
    .hard_link("again", "out/report.txt")
    .file("./plain", std::string(1'000'000, 'p'));
  auto done = unpack(maker.tar(), folder.path());
  if (!done)
    FAIL(done.error().message);
  CHECK(done->files == 3);
  CHECK(done->links == 3);
  CHECK(done->bytes == 1'000'019);
  CHECK(read_file(folder / "out/latest") == "#!/bin/sh\n");
  CHECK(read_file(folder / "out/deep/up") == "all good\n");
  CHECK(read_file(folder / "again") == "all good\n");
  struct stat info {};
  REQUIRE(::stat((folder / "out/deep/er/run.sh").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0755);
  // A second time nothing is overwritten.
  std::ofstream{folder / "plain2"} << "mine";
  tar_maker second;
  second.file("plain2", "theirs");
  CHECK(unpack(second.tar(), folder.path()).has_error());
  CHECK(read_file(folder / "plain2") == "mine");
}

TEST_CASE("an archive that wants out of its folder is refused by the entry's name") {
  for (const std::string name : {"../victim", "/tmp/davit-victim", "a/../../../victim", "..", "x/../..", "//etc/x"}) {
    tar_maker maker;
    maker.file(name);
    INFO(name);
    CHECK(refusal(maker).find("leads out of the folder") != std::string::npos);
  }
  for (const std::string target : {"/etc/passwd", "../../victim", "..", "../x", "a/../../..", "sub/../.."}) {
    INFO(target);
    tar_maker direct, behind;
    direct.link("link", target);
    CHECK(refusal(direct).find("leads out of the folder") != std::string::npos);
    behind.hard_link("link", target);
    CHECK(!refusal(behind).empty());
  }
  tar_maker through, twice, chain, over;
  through.add("real/", AE_IFDIR, "").link("link", "real").file("link/file");
  CHECK(refusal(through).find("symbolic link") != std::string::npos);
  chain.link("a", ".").link("a/b", ".").file("a/b/c");
  CHECK(!refusal(chain).empty());
  twice.file("same").file("same");
  CHECK(!refusal(twice).empty());
  over.link("target", "inside").file("target", "written through the link");
  CHECK(!refusal(over).empty());
}

TEST_CASE("an archive with devices, without end, or that is none, is refused") {
  for (unsigned type : {AE_IFCHR, AE_IFBLK, AE_IFIFO}) {
    tar_maker maker;
    maker.add("special", type, "");
    CHECK(refusal(maker).find("device, a fifo or a socket") != std::string::npos);
  }
  tar_maker many, large, deep, sparse;
  for (int i = 0; i < 50; ++i)
    many.file("f" + std::to_string(i));
  CHECK(refusal(many, {1000, 49, 64}).find("49 entries") != std::string::npos);
  large.file("a", std::string(600, 'a')).file("b", std::string(600, 'b'));
  CHECK(refusal(large, {1000, 100, 64}).find("\"b\" takes the whole over 1000 bytes") != std::string::npos);
  std::string path;
  for (int i = 0; i < 100; ++i)
    path += "d/";
  deep.file(path + "f");
  CHECK(refusal(deep).find("64 folders deep") != std::string::npos);
  sparse.add("hole", AE_IFREG, "x", [](archive_entry* e) {
    archive_entry_set_size(e, 1ll << 40);
    archive_entry_sparse_add_entry(e, (1ll << 40) - 1, 1);
  });
  CHECK(!refusal(sparse).empty());
  scratch_folder folder;
  tar_maker good;
  good.file("a", std::string(5000, 'a'));
  auto tar = good.tar();
  CHECK(unpack(std::string_view{tar}.substr(0, 2000), folder.path()).has_error());
  CHECK(unpack(std::string(5000, 'x'), folder.path()).has_error());
  CHECK(unpack(tar, folder / "nowhere").has_error());
}
