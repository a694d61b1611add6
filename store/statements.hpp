// The statements of a session: each is prepared once, when it is first asked, and kept. That spares SQLite the parser
// and PostgreSQL two ways there and back.
#pragma once

#include <soci/soci.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace davit::store {

namespace detail {

/// Where a bound value lies, and what it is when it may be NULL.
template <class T>
struct place {
  T value{};
  soci::indicator state = soci::i_ok;

  void put(T from) { value = std::move(from); }
  T get() const { return value; }
};

template <class T>
struct place<std::optional<T>> {
  T value{};
  soci::indicator state = soci::i_null;

  void put(std::optional<T> from) {
    state = from ? soci::i_ok : soci::i_null;
    value = from ? std::move(*from) : T{};
  }
  std::optional<T> get() const { return state == soci::i_ok ? std::optional<T>{value} : std::nullopt; }
};

} // namespace detail

/// Takes `std::string` and `long long`, or a std::optional of them for what may be NULL. For texts that are always the
/// same: each different text stays prepared. Throws what SOCI throws.
class statements {
public:
  explicit statements(soci::session& session) : session_(session) {}

  /// Before the session is closed or opened anew.
  void clear() { kept_.clear(); }

  /// Runs it for what it does; how many rows it has touched.
  template <class... In>
  long long run(const std::string& text, In... in) {
    auto& one = prepared<std::tuple<>, In...>(text, std::move(in)...);
    return one.attempt([&] {
      one.statement.execute(true);
      return one.statement.get_affected_rows();
    });
  }

  /// Every row that it finds.
  template <class... Out, class... In>
  std::vector<std::tuple<Out...>> rows(const std::string& text, In... in) {
    return read(prepared<std::tuple<Out...>, In...>(text, std::move(in)...));
  }

  /// As rows, of a statement that is not kept.
  template <class... Out, class... In>
  std::vector<std::tuple<Out...>> rows_once(const std::string& text, In... in) {
    kept<std::tuple<Out...>, std::tuple<In...>> one{session_, text};
    one.put(std::move(in)...);
    return read(one);
  }

  /// The first row, if it finds any.
  template <class... Out, class... In>
  std::optional<std::tuple<Out...>> row(const std::string& text, In... in) {
    auto found = rows<Out...>(text, std::move(in)...);
    return found.empty() ? std::nullopt : std::optional{std::move(found.front())};
  }

  /// Every row that a statement finds which takes as many texts as there are values; it is not kept.
  template <class... Out>
  static std::vector<std::tuple<Out...>>
  rows_with(soci::session& session, const std::string& text, const std::vector<std::string>& values) {
    std::tuple<detail::place<Out>...> out;
    soci::statement statement(session);
    for (const auto& value : values)
      statement.exchange(soci::use(value));
    std::apply([&](auto&... place) { (statement.exchange(soci::into(place.value, place.state)), ...); }, out);
    statement.alloc();
    statement.prepare(text);
    statement.define_and_bind();
    return read<Out...>(statement, out);
  }

private:
  struct any_statement {
    virtual ~any_statement() = default;
  };

  template <class Out, class In>
  struct kept;

  template <class... Out, class... In>
  struct kept<std::tuple<Out...>, std::tuple<In...>> final : any_statement {
    std::tuple<detail::place<In>...> in;
    std::tuple<detail::place<Out>...> out;
    soci::statement statement;

    kept(soci::session& session, const std::string& text) : statement(session) {
      exchange();
      statement.alloc();
      statement.prepare(text);
      statement.define_and_bind();
    }

    void exchange() {
      std::apply([&](auto&... place) { (statement.exchange(soci::use(place.value, place.state)), ...); }, in);
      std::apply([&](auto&... place) { (statement.exchange(soci::into(place.value, place.state)), ...); }, out);
    }

    /// SOCI frees the values it has sent once a statement has run, and loses them when one fails and is run again.
    template <class Run>
    auto attempt(Run&& run) {
      try {
        return run();
      } catch (...) {
        statement.bind_clean_up();
        exchange();
        statement.define_and_bind();
        throw;
      }
    }

    void put(In... from) {
      std::apply([&](auto&... place) { (place.put(std::move(from)), ...); }, in);
    }
  };

  template <class... Out, class In>
  static std::vector<std::tuple<Out...>> read(kept<std::tuple<Out...>, In>& one) {
    return one.attempt([&] { return read<Out...>(one.statement, one.out); });
  }

  template <class... Out>
  static std::vector<std::tuple<Out...>>
  read(soci::statement& statement, const std::tuple<detail::place<Out>...>& out) {
    std::vector<std::tuple<Out...>> found;
    statement.execute();
    while (statement.fetch()) // to the end: a statement that is left half-read keeps the database from being tidied up
      found.push_back(std::apply([](const auto&... place) { return std::tuple<Out...>{place.get()...}; }, out));
    return found;
  }

  template <class Out, class... In>
  kept<Out, std::tuple<In...>>& prepared(const std::string& text, In... in) {
    using statement = kept<Out, std::tuple<In...>>;
    auto& found = kept_[text];
    if (!found) {
      try {
        found = std::make_unique<statement>(session_, text);
      } catch (...) {
        kept_.erase(text);
        throw;
      }
    }
    auto& one = dynamic_cast<statement&>(*found); // a text is asked in one place, with one kind of values
    one.put(std::move(in)...);
    return one;
  }

  soci::session& session_;
  std::map<std::string, std::unique_ptr<any_statement>> kept_;
};

} // namespace davit::store
