// Table: columns that line up, for a terminal or a pipe. The last column is never padded.
#pragma once

#include <string>
#include <vector>

namespace clusterd::ctl {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const { return rows_.size() == 1; }
  [[nodiscard]] std::string str() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "12.0 GiB" with one digit, 1024-based.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

}  // namespace clusterd::ctl
