// What came out of tasks.
#include "api/file_thread.hpp"

namespace davit::api {

namespace {

json::value listing_of(const blobs::tree& all) {
  static constexpr const char* kinds[] = {"", "file", "folder", "symlink", "hard_link"};
  json::array entries;
  for (const auto& one : all.entries) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", one.mode);
    json::object entry{{"path", json::to_value(one.path)}, {"kind", kinds[static_cast<int>(one.kind)]}};
    if (one.kind != blobs::entry_kind::hard_link) {
      entry["mode"] = mode;
      entry["modified"] = format_timestamp(
        timestamp{std::chrono::seconds{one.modified.seconds} + std::chrono::nanoseconds{one.modified.nanoseconds}});
    }
    if (one.kind == blobs::entry_kind::file) {
      entry["size"] = one.size;
      entry["digest"] = to_text(one.content);
    }
    if (!one.target.empty())
      entry["target"] = json::to_value(one.target);
    entries.push_back(std::move(entry));
  }
  return json::object{{"entries", std::move(entries)}};
}

/// What a list of a tree may have of names: a list is in memory as a whole.
constexpr std::size_t most_listed = 4 << 20;

std::size_t names_of(const blobs::tree& all) {
  std::size_t bytes = 0;
  for (const auto& one : all.entries)
    bytes += one.path.size() + one.target.size();
  return bytes;
}

/// Those of the last attempt that had a container's end.
std::pair<const attempt*, const std::vector<collected_output>*> outputs_of(const task& found) {
  for (auto one = found.attempts.rbegin(); one != found.attempts.rend(); ++one)
    if (!one->outputs.empty())
      return {&*one, &one->outputs};
  static const std::vector<collected_output> none;
  return {nullptr, &none};
}

void send_output(self_pointer self, const exchange_ptr& client, const caller& who, const task& found) {
  const auto& path = client->request().segments;
  auto all = outputs_of(found).second;
  auto output = std::find_if(all->begin(), all->end(), [&](const auto& one) { return one.name == path[4]; });
  if (output == all->end())
    return respond(self, client,
                   problem(404, found.spec.outputs.contains(path[4])
                                  ? "the output " + path[4] + " was not collected (yet)"
                                  : "the task has no output \"" + path[4] + '"'));
  auto name = blobs::parse_digest(output->tree);
  if (!name)
    return respond(self, client,
                   problem(404, "the output " + output->name + " is " + to_string(output->state)
                                  + (output->message.empty() ? "" : ": " + output->message)));
  std::string part;
  for (std::size_t i = 5; i < path.size(); ++i)
    part += (part.empty() ? "" : "/") + path[i];
  auto lists = client->request().header("accept").find("application/json") != std::string::npos;
  on_thread(self, client, who, found.owner, [name = *name, part, lists](const file_thread& with) {
    auto tree = with.mine().tree(name);
    if (!tree)
      return with.fail(tree.error());
    const blobs::tree_entry* file = nullptr;
    if (!part.empty()) {
      auto some = subtree(*tree, part);
      if (!some)
        return with.answer(problem(404, "the output has nothing at " + part));
      auto whole
        = std::find_if(tree->entries.begin(), tree->entries.end(), [&](const auto& one) { return one.path == part; });
      auto is_file = whole != tree->entries.end()
                  && (whole->kind == blobs::entry_kind::file || whole->kind == blobs::entry_kind::hard_link);
      *tree = std::move(*some);
      file = is_file ? &tree->entries.front() : nullptr;
    }
    if (lists && names_of(*tree) > most_listed)
      return with.answer(problem(413,
                                 "the list would be too long: take the archive (without Accept: application/json), "
                                 "or the list of a folder in it"));
    if (lists)
      return with.answer({200, "application/json", json::write(listing_of(*tree)) + "\n", {}});
    if (file)
      return with.send_file(file->content, file->size);
    with.send_tree(*tree);
  });
}

} // namespace

void leave_counts(task& one) {
  for (auto& tried : one.attempts)
    for (auto& output : tried.outputs)
      if (output.tests) {
        output.tests->slowest.clear();
        output.tests->failed.clear();
      }
}

void outputs(self_pointer self, exchange_ptr client, task_id id, const caller& who) {
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](const task& found) {
        if (client->request().segments.size() > 4)
          return send_output(self, client, who, found);
        auto [from, all] = outputs_of(found);
        json::array list;
        for (const auto& one : *all) {
          auto value = json::to_value(one);
          value.as_object()["attempt"] = from->number;
          list.push_back(std::move(value));
        }
        respond_json(self, client, 200, json::object{{"outputs", std::move(list)}});
      },
      refuse(self, client));
}

} // namespace davit::api
