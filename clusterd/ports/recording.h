// Recording: where the driver puts what its controller was told (codec/recording.h). It is kept for
// people who look into an incident; nothing ever waits for it, and nothing fails with it.
#pragma once

#include <string>
#include <string_view>

namespace clusterd {

class Recording {
 public:
  enum class Wants { nothing, segment, records };

  virtual ~Recording() = default;

  // segment: begin() must come next, the present one is full. nothing: it has stopped for good.
  [[nodiscard]] virtual Wants wants() const = 0;
  // Starts a segment; the oldest ones go, so that all together stay within the bound.
  virtual void begin(std::string bytes) = 0;
  virtual void append(std::string_view bytes) = 0;
  // Gives up, and says why once.
  virtual void stop(const std::string& why) = 0;
};

}  // namespace clusterd
