// A library that is small enough for an example.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Words are what blanks part.
std::size_t count_words(std::string_view text);

/// The first of the longest words; empty if there is none.
std::string longest_word(std::string_view text);
