#include "words.hpp"

#include <iterator>
#include <sstream>

std::size_t count_words(std::string_view text) {
  std::istringstream in{std::string{text}};
  using words = std::istream_iterator<std::string>;
  return static_cast<std::size_t>(std::distance(words{in}, words{}));
}

std::string longest_word(std::string_view text) {
  std::istringstream in{std::string{text}};
  std::string longest;
  for (std::string word; in >> word;)
    if (word.size() > longest.size())
      longest = word;
  return longest;
}
