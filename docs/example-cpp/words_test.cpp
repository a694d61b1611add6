// words_test NAME: runs one test. A test program of a framework would write JUnit XML by itself; here CTest does.
#include "words.hpp"

#include <iostream>
#include <map>

namespace {

bool check(bool holds, const char* what) {
  if (!holds)
    std::cout << "does not hold: " << what << '\n';
  return holds;
}

const std::map<std::string, bool (*)()> tests{
  {"counts_words", [] { return check(count_words("one two three") == 3, "there are three words"); }},
  {"ignores_blanks", [] { return check(count_words("  one\t\n") == 1, "blanks are no words"); }},
  {"finds_the_longest", [] { return check(longest_word("a bcd ef") == "bcd", "bcd is the longest"); }},
};

} // namespace

int main(int count, char** words) {
  auto found = tests.find(count == 2 ? words[1] : "");
  if (found == tests.end()) {
    std::cerr << "there is no such test\n";
    return 2;
  }
  return found->second() ? 0 : 1;
}
