#include "actors/sink_positions.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "store/private_files.hpp"

#include <fstream>

namespace davit {

template <class Inspector>
bool inspect(Inspector& f, sink_position& x) {
  return f.object(x).fields(f.field("task", x.task), f.field("attempt", x.attempt), f.field("offset", x.offset),
                            f.field("size", x.size));
}

template <class Inspector>
bool inspect(Inspector& f, sink_positions& x) {
  return f.object(x).fields(f.field("at", x.at), f.field("open", x.open), f.field("done", x.done));
}

std::optional<sink_positions> load_positions(const std::filesystem::path& file, std::string& error) {
  std::ifstream in{file};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (text.empty())
    return std::nullopt;
  auto positions = json::read<sink_positions>(std::string_view{text}, json::unknown_fields::ignore);
  if (positions)
    return std::move(*positions);
  error = file.string() + " can't be read";
  return std::nullopt;
}

bool save_positions(const std::filesystem::path& file, const sink_positions& positions) {
  return !store::replace_private_file(file, json::write(positions));
}

} // namespace davit
