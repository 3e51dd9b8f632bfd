// Text that may leave this process: valid UTF-8, bounded, without control characters.
//
// Everything that an agent, libvirt or an operator said ends up in messages, JSON and logs; what
// is checked here once need not be feared there.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace clusterd {

// Bytes at the front that are well-formed UTF-8 (no overlong forms, no surrogates, nothing above
// U+10FFFF); all of them if the whole text is.
[[nodiscard]] std::size_t utf8_prefix(std::string_view text);

// True for well-formed UTF-8.
[[nodiscard]] bool is_utf8(std::string_view text);

// True if the text has a control character; tab, newline and carriage return are none.
[[nodiscard]] bool has_control(std::string_view text);

// The same text made fit to travel: bytes that are no UTF-8 and control characters become '?',
// and what is longer than `limit` bytes is cut at a character's end.
[[nodiscard]] std::string tidy_text(std::string_view text, std::size_t limit);

// The text without the white space of XML (space, tab, line breaks) at both ends.
[[nodiscard]] std::string trimmed(std::string_view text);

// The last lines that say something, joined by " / ", printable ASCII only, at most `limit` bytes.
[[nodiscard]] std::string last_words(std::string_view output, std::size_t limit);

// A to Z made small, all else as it was.
[[nodiscard]] std::string lower_ascii(std::string_view text);

}  // namespace clusterd
