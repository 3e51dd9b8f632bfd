#include "resource-agents/probes/agent_words.h"

#include <nlohmann/json.hpp>

#include "clusterd/base/text.h"

namespace clusterd::probes {
namespace {

constexpr std::size_t kTail = 1024;  // of printed base64 that is kept; a multiple of 4
constexpr std::size_t kWords = 160;  // bytes
constexpr int kDepth = 16;

std::string dumped(const nlohmann::json& command) {
  return command.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Takes numbers, truth values and strings out of {"return": {...}}. No tree is built: an answer may
// have megabytes.
class ReplyReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::optional<std::int64_t> pid, code, killed;
  std::optional<bool> exited;
  std::string output, error;  // ends of them, base64

  bool null() override { return true; }
  bool boolean(bool value) override {
    if (wanted("exited")) exited = value;
    return true;
  }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return value > INT64_MAX || number(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t& value) override {
    if (wanted("out-data")) output = tail(value);
    if (wanted("err-data")) error = tail(value);
    return true;
  }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    if (depth_ == 1) in_return_ = key_ == "return";
    return ++depth_ <= kDepth;
  }
  bool key(string_t& value) override {
    key_ = value.substr(0, 32);
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override { return ++depth_ <= kDepth; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  [[nodiscard]] bool wanted(std::string_view name) const {
    return depth_ == 2 && in_return_ && key_ == name;
  }
  bool number(std::int64_t value) {
    if (wanted("pid")) pid = value;
    if (wanted("exitcode")) code = value;
    if (wanted("signal")) killed = value;
    return true;
  }
  // Base64 goes by four: the end begins at such a border.
  static std::string tail(const std::string& text) {
    const std::size_t skipped = text.size() > kTail ? (text.size() - kTail + 3) / 4 * 4 : 0;
    return text.substr(skipped);
  }

  int depth_ = 0;
  bool in_return_ = false;
  std::string key_;
};

AgentFailure garbage() {
  return {AgentFailure::Kind::silent, "what it said is no answer"};
}

bool read(const std::string& text, ReplyReader& reader) {
  return nlohmann::json::sax_parse(text, &reader);
}

}  // namespace

std::string exec_command(const std::vector<std::string>& command) {
  nlohmann::json arguments = {{"path", command.front()}, {"capture-output", true}};
  arguments["arg"] = std::vector<std::string>(command.begin() + 1, command.end());
  return dumped({{"execute", "guest-exec"}, {"arguments", std::move(arguments)}});
}

std::string status_command(std::int64_t pid) {
  return dumped({{"execute", "guest-exec-status"}, {"arguments", {{"pid", pid}}}});
}

AgentAnswer<std::int64_t> read_pid(const AgentAnswer<std::string>& answer) {
  const auto* text = std::get_if<std::string>(&answer);
  if (text == nullptr) return std::get<AgentFailure>(answer);
  ReplyReader reader;
  if (!read(*text, reader) || !reader.pid) return garbage();
  return *reader.pid;
}

AgentAnswer<ExecStatus> read_status(const AgentAnswer<std::string>& answer) {
  const auto* text = std::get_if<std::string>(&answer);
  if (text == nullptr) return std::get<AgentFailure>(answer);
  ReplyReader reader;
  if (!read(*text, reader) || !reader.exited) return garbage();
  ExecStatus status;
  status.exited = *reader.exited;
  if (reader.killed) status.killed = static_cast<int>(*reader.killed);
  // Ended, and neither how nor why: nothing that could pass for success.
  if (status.exited && !reader.code && !reader.killed) return garbage();
  status.code = static_cast<int>(reader.code.value_or(0));
  if (reader.code && status.code != *reader.code) return garbage();
  status.words = last_words(decode_base64(reader.error), kWords);
  if (status.words.empty()) status.words = last_words(decode_base64(reader.output), kWords);
  return status;
}

std::string decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xffU);
  }
  return bytes;
}

}  // namespace clusterd::probes
