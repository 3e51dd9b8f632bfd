// What a fence agent prints when it is asked: never taken for "off" when it does not say so, shown
// without its secret, and fit for a sentence and for JSON.
// runs: 6000
#include <algorithm>
#include <vector>

#include "clusterd/base/assert.h"
#include "fencing/agent/call_runner.h"
#include "fencing/agent/fence_test.h"
#include "fencing/agent/redact.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

// Of letters that "[hidden]" does not have, so that it can only come from the output.
constexpr std::string_view kSecret = "s3cr3t*Pass";

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The word "off" in any case, looked for letter by letter.
bool has_word_off(std::string_view text) {
  std::string word;
  for (const char c : std::string(text) + ".") {
    if (is_letter(c)) {
      word += static_cast<char>(c | 0x20);
    } else if (word == "off") {
      return true;
    } else {
      word.clear();
    }
  }
  return false;
}

// A JSON string in ASCII (RFC 8259, section 7): returns how many characters it stands for.
std::size_t json_characters(std::string_view json) {
  CLUSTERD_ASSERT(json.size() >= 2 && json.front() == '"' && json.back() == '"');
  json = json.substr(1, json.size() - 2);
  std::size_t characters = 0;
  for (; !json.empty(); ++characters) {
    CLUSTERD_ASSERT(json.front() >= ' ' && json.front() <= '~' && json.front() != '"');
    if (json.front() == '\\') {
      json.remove_prefix(1);
      CLUSTERD_ASSERT(!json.empty());
      const bool hex = json.front() == 'u';
      CLUSTERD_ASSERT(hex || json.front() == '"' || json.front() == '\\');
      CLUSTERD_ASSERT(!hex || json.size() >= 5);
      if (hex) json.remove_prefix(4);
    }
    json.remove_prefix(1);
  }
  return characters;
}

std::string shown_of(std::string_view output, std::size_t piece) {
  OutputTail tail;
  for (std::size_t at = 0; at < output.size(); at += piece) tail.append(output.substr(at, piece));
  std::vector<WipedText> secrets(1);
  secrets.front().append(kSecret);
  return tail.shown(secrets);
}

void check_answer(const CallResult& result) {
  const auto* exited = std::get_if<Exited>(&result.end);
  const Power power = power_of(result);
  const bool off = exited != nullptr && exited->code == 2 && has_word_off(result.output);
  CLUSTERD_ASSERT((power == Power::off) == off);
  CLUSTERD_ASSERT((power == Power::on) == (exited != nullptr && exited->code == 0));
  fuzz::check_told(describe("bmc-n1", "status", Duration(20000), result));
}

}  // namespace

// A script: exit code, how the agent ended, how many bytes come at a time; then its output. `@`
// stands for the secret.
void fuzz_one(std::string_view input) {
  fuzz::Script script(input);
  const int code = script.byte() % 4;
  const int kind = script.byte();
  const std::size_t piece = 1U + script.number();
  std::string output;
  for (const char c : script.rest()) {
    if (c == '@') {
      output += kSecret;
    } else {
      output.append(kind >= 128 ? 64 : 1, c);  // long outputs from short inputs
    }
  }
  CallResult result;
  result.end = Exited{code};
  if (kind % 8 == 1) result.end = Crashed{code};
  if (kind % 8 == 2) result.end = TimedOut{};
  if (kind % 8 == 3) result.end = GaveWay{};
  result.output = shown_of(output, piece);
  CLUSTERD_ASSERT(result.output.find(kSecret) == result.output.npos);
  CLUSTERD_ASSERT(result.output == shown_of(output, 4096));
  check_answer(result);
  CLUSTERD_ASSERT(json_characters(json_string(result.output)) == result.output.size());
}
