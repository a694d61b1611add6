// What CAF's parser does not tell of a configuration file.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace davit {

struct file_outline {
  int too_deep = 0; ///< The line where groups and lists are more deeply nested than any that make sense; 0: nowhere.
  std::map<std::string, int> lines; ///< Of each key, by its full name.
  /// Keys that are given a second time, each with the line of the second. CAF takes one of them without a word.
  std::vector<std::pair<std::string, int>> repeated;
  /// What stands behind each key's `=`, if it begins as a number does: as it was written.
  std::map<std::string, std::string> numbers;
  /// Groups that the file's end leaves open, and where they begin: CAF takes half a file for a whole one.
  std::vector<std::pair<std::string, int>> open;
  std::vector<std::pair<std::string, int>> dotted; ///< Names of keys and groups that have a dot.
  std::pair<std::string, int> unused;              ///< A word behind the last group; empty: there is none.
  int open_list = 0; ///< The line where a list begins that is not closed; 0: there is none.
};

file_outline outline_of(const std::string& text);

} // namespace davit
