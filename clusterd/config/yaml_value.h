// YamlValue: one value of a YAML file, with its place and its path ("vms.web1.placement").
//
// Whoever reads asks for the type that should be there. A value that is something else becomes an
// error with file, line and column, and the reader goes on: one pass finds every error of a file.
//
// Anchors and aliases, tags and several documents in one file are refused, as is nesting deeper
// than 32: small files that mean huge values do not exist that way.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "clusterd/base/time.h"
#include "clusterd/config/config_error.h"

namespace clusterd {

// Where each path was said, over all files that are read together.
using Places = std::map<std::string, Place>;

// What the parser saw; internal to YamlValue.
struct YamlNode;

class YamlValue {
 public:
  using Visit = std::function<void(const YamlValue&)>;
  using Keys = std::map<std::string, Visit>;

  // The root of a file's text; nullopt and one or more errors if it is no acceptable YAML.
  // `errors` and `places` outlive all values of the file.
  [[nodiscard]] static std::optional<YamlValue> root(const std::string& file,
                                                     const std::string& text, ConfigErrors& errors,
                                                     Places& places);

  [[nodiscard]] bool is_null() const;
  [[nodiscard]] bool is_map() const;
  // A mapping that has this key, whatever stands there.
  [[nodiscard]] bool has(const char* key) const;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const Place& place() const { return place_; }
  void error(const std::string& message) const;

  // A mapping with exactly these keys, each at most once; unknown ones are errors. False, with an
  // error, if it is no mapping.
  bool keys(const Keys& known) const;
  // A mapping from names (see is_name) to anything; `visit` gets each entry once.
  bool entries(const std::function<void(const std::string&, const YamlValue&)>& visit) const;
  // A list.
  bool items(const Visit& visit) const;

  // Each gives nullopt after an error.
  [[nodiscard]] std::optional<std::string> text(std::size_t most = 64 * 1024) const;
  [[nodiscard]] std::optional<std::string> name() const;
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::optional<std::uint64_t> number(std::uint64_t least, std::uint64_t most) const;
  // A decimal with up to three digits behind the point, in thousandths.
  [[nodiscard]] std::optional<std::uint32_t> thousandths(std::uint32_t most) const;
  // "50%" as 50.
  [[nodiscard]] std::optional<std::uint32_t> percent() const;
  // "500ms", "10s", "2m", "1h".
  [[nodiscard]] std::optional<Duration> duration(Duration least, Duration most) const;
  // "512MiB", "4GiB" and the like, in bytes.
  [[nodiscard]] std::optional<std::uint64_t> size(std::uint64_t least, std::uint64_t most) const;
  [[nodiscard]] std::optional<std::set<std::string>> name_set() const;
  [[nodiscard]] std::optional<std::vector<std::string>> name_list() const;

  template <class E>
  [[nodiscard]] std::optional<E> word(
      std::initializer_list<std::pair<const char*, E>> words) const {
    const auto said = scalar();
    if (!said) return std::nullopt;
    std::string all;
    for (const auto& [text, value] : words) {
      if (*said == text) return value;
      all += (all.empty() ? "" : ", ") + std::string(text);
    }
    error("'" + shown(*said) + "' is none of " + all);
    return std::nullopt;
  }

 private:
  YamlValue(std::shared_ptr<const YamlNode> node, std::string file, std::string path,
            ConfigErrors& errors, Places& places);
  [[nodiscard]] YamlValue child(const YamlNode& node, std::string path) const;
  [[nodiscard]] std::optional<std::string> scalar() const;
  [[nodiscard]] static std::string shown(const std::string& text);

  std::shared_ptr<const YamlNode> node_;  // keeps the whole file's alive
  Place place_;
  std::string path_;
  ConfigErrors* errors_;
  Places* places_;
};

// Names of objects: letters, digits, '.', '_' and '-', beginning with a letter or a digit, at most
// 63 characters.
[[nodiscard]] bool is_name(std::string_view text);

// Assigns what was read, if it could be read. Numbers were asked for in a range that fits.
template <class T, class U>
void set(T& into, std::optional<U> value) {
  if (!value) return;
  if constexpr (std::is_arithmetic_v<T> && std::is_arithmetic_v<U>) {
    into = static_cast<T>(*value);
  } else if constexpr (std::is_same_v<T, std::optional<std::uint32_t>>) {
    into = static_cast<std::uint32_t>(*value);
  } else {
    into = std::move(*value);
  }
}

}  // namespace clusterd
