// Text from outside, checked and tidied.
#include "clusterd/base/text.h"

#include <catch2/catch.hpp>

#include "clusterd/base/prng.h"

using namespace clusterd;

TEST_CASE("text: UTF-8 is told from what only looks like it") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("grün \xe2\x82\xac \xf0\x9f\x90\xa7"));
  CHECK_FALSE(is_utf8("\x80"));
  CHECK_FALSE(is_utf8("\xc0\xaf"));          // overlong
  CHECK_FALSE(is_utf8("\xe0\x80\xaf"));      // overlong
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));      // surrogate
  CHECK_FALSE(is_utf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  CHECK_FALSE(is_utf8("\xe2\x82"));          // cut
}

TEST_CASE("text: what was tidied is valid, short enough, and unchanged if it was fine") {
  CHECK(tidy_text("libvirt: Gerät fehlt\n", 100) == "libvirt: Gerät fehlt\n");
  CHECK(tidy_text("a\xff\x1b[0m", 100) == "a??[0m");
  CHECK(tidy_text("\xe2\x82\xac\xe2\x82\xac", 5) == "\xe2\x82\xac");
  Prng prng(3);
  for (int i = 0; i < 20000; ++i) {
    std::string noise;
    const auto size = prng.below(40);
    for (std::uint64_t n = 0; n < size; ++n) noise += static_cast<char>(prng.below(256));
    const std::string tidy = tidy_text(noise, 30);
    if (!is_utf8(tidy) || has_control(tidy) || tidy.size() > 30) FAIL("not tidy");
  }
}

TEST_CASE("text: the last words are one printable line") {
  CHECK(last_words("", 100) == "");
  CHECK(last_words("one\n\n  \ntwo\r\nthree\n", 100) == "one / two / three");
  CHECK(last_words("one\ntwo\nthree\n", 11) == "two / three");
  CHECK(last_words("long line here", 4) == "long");
  CHECK(last_words("a\x1b[31mb\xff\n", 100) == "a?[31mb?");
}
