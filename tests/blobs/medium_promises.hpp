// What blobs/medium.hpp promises, as checks for the tests of each medium. They expect that nobody else uses it.
#pragma once

#include "blobs/medium.hpp"
#include "blobs/random_bytes.hpp"

#include <catch2/catch_tostring.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

template <class T>
struct Catch::StringMaker<boost::system::result<T, davit::blobs::error>> {
  static std::string convert(const boost::system::result<T, davit::blobs::error>& value) {
    return value ? "a value" : value.error().message;
  }
};

namespace davit::test {

/// The whole object. Throws if it can't be read.
std::string content_of(blobs::medium& from, const std::string& key);
void put(blobs::medium& into, const std::string& key, std::string_view bytes);
/// Keys and sizes, by pages of this size. Checks that nothing comes twice.
std::map<std::string, std::uint64_t> all_in(blobs::medium& from, std::size_t page_size);

/// An object is there when it is committed, as a whole, and only then; and what is not a key is refused.
void check_whole_or_absent(blobs::medium& medium);
/// Pages of a list have each object once, whatever their size. The medium is empty before.
void check_pages(blobs::medium& medium, std::size_t objects);
/// Threads write, read, remove and abandon at once. So many objects are there afterwards.
std::size_t check_threads(blobs::medium& medium, int rounds);
/// All calls in a random order, each answer compared with a map of what should be there. The medium is empty before.
void check_random_calls(blobs::medium& medium, std::uint64_t seed, unsigned calls, std::size_t most_bytes);

} // namespace davit::test
