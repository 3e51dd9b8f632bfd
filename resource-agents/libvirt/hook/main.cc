// clusterd-qemu-hook, installed as /etc/libvirt/hooks/qemu.d/clusterd. libvirt runs it as
// `clusterd GUEST OPERATION SUBOPERATION EXTRA` with the domain's XML on standard input.
//
// It works whether clusterd runs or not, and never talks to libvirt (libvirt waits for it).
// Standard output stays empty: for `migrate` and `restore` that means "XML unchanged".
// The directories are fixed at build time: libvirt clears the environment of hooks, and a guard
// that reads its own whereabouts from a file fails open when that file is wrong.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "resource-agents/libvirt/hook/decision.h"

#ifndef CLUSTERD_STATE_DIR
#define CLUSTERD_STATE_DIR "/var/lib/clusterd"
#endif
#ifndef CLUSTERD_RUN_DIR
#define CLUSTERD_RUN_DIR "/run/clusterd"
#endif

namespace {

using clusterd::Uuid;
using clusterd::hook::Presence;

constexpr std::size_t kLongestXml = 16U << 20;
const char kProtected[] = CLUSTERD_STATE_DIR "/protected";
const char kGrants[] = CLUSTERD_RUN_DIR "/grants";

Presence presence_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0) return Presence::present;
  return errno == ENOENT || errno == ENOTDIR ? Presence::absent : Presence::unreadable;
}

Presence any_protection() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(kProtected), ::closedir);
  if (!directory) return errno == ENOENT ? Presence::absent : Presence::unreadable;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (Uuid::parse(entry->d_name)) return Presence::present;
  }
  return Presence::absent;
}

// Always read to the end: libvirt reports a failed hook if its pipe breaks.
std::string read_standard_input() {
  std::string content;
  std::array<char, 65536> buffer;
  for (;;) {
    const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return content;
    if (content.size() < kLongestXml) {
      content.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string xml = read_standard_input();
  clusterd::hook::Call call;
  if (argc > 1) call.guest = argv[1];
  if (argc > 2) call.operation = argv[2];
  if (argc > 3) call.suboperation = argv[3];
  call.xml = xml;
  const clusterd::hook::GuardFiles files{
      [](const Uuid& uuid) { return presence_of(std::string(kProtected) + "/" + uuid.str()); },
      [](const Uuid& uuid) { return presence_of(std::string(kGrants) + "/" + uuid.str()); },
      any_protection};
  const auto verdict = clusterd::hook::decide(call, files);
  if (verdict.allowed) return 0;
  std::fprintf(stderr, "%s\n", verdict.reason.c_str());
  return 1;
}
