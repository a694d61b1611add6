// What is checked of a flag's value while the command line is read.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace davit {

inline const CLI::Validator counted{[](std::string& text) {
                                      auto digits = text.find_first_not_of("0123456789") == std::string::npos;
                                      return digits && text.find_first_not_of('0') != std::string::npos
                                             ? std::string{}
                                             : "must be 1 or more, not " + text;
                                    },
                                    ""};

inline const CLI::Validator counted_or_none{[](std::string& text) {
                                              auto digits = text.find_first_not_of("0123456789") == std::string::npos;
                                              return digits ? std::string{} : "must be 0 or more, not " + text;
                                            },
                                            ""};

/// A script's variable that is not set shall not stand for all.
inline const CLI::Validator not_empty{
  [](std::string& text) { return text.empty() ? std::string{"it must not be empty"} : std::string{}; }, ""};

} // namespace davit
