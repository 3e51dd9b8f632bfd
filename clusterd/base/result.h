// Result<T>: a value or an Error that says what happened, to what, why, and what to do next.
//
// Used at the edges (adapters, loaders). The engine reports refusals as typed data instead.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "clusterd/base/assert.h"

namespace clusterd {

struct Error {
  std::string message;

  // The same error with what the caller was doing in front: "context: message".
  [[nodiscard]] Error in(const std::string& context) const { return {context + ": " + message}; }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : data_(std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : data_(std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return std::holds_alternative<T>(data_); }
  explicit operator bool() const { return ok(); }

  // Precondition of value(): ok(). Precondition of error(): !ok().
  [[nodiscard]] const T& value() const& {
    CLUSTERD_ASSERT(ok());
    return *std::get_if<T>(&data_);
  }
  [[nodiscard]] T&& value() && {
    CLUSTERD_ASSERT(ok());
    return std::move(*std::get_if<T>(&data_));
  }
  [[nodiscard]] const Error& error() const {
    CLUSTERD_ASSERT(!ok());
    return *std::get_if<Error>(&data_);
  }

 private:
  std::variant<T, Error> data_;
};

// A result without a value: "it worked" or why it did not.
using Status = Result<std::monostate>;
[[nodiscard]] inline Status ok_status() { return Status(std::monostate{}); }

}  // namespace clusterd
