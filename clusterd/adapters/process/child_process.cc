#include "clusterd/adapters/process/child_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <utility>
#include <vector>

#include "clusterd/base/assert.h"

namespace clusterd {
namespace {

constexpr std::size_t kMaxDescendants = 256;
constexpr Duration kPatience{1000};

std::string system_error(const std::string& what, int number) {
  std::array<char, 128> buffer{};
  return what + ": " + strerror_r(number, buffer.data(), buffer.size());
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    close_fd(read);
    close_fd(write);
  }
  bool open(int flags) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | flags) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
};

// What posix_spawn is told; freed with this object.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&actions);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // A new session is a new process group too, and has no terminal; the worker's blocked signals
  // and the daemon's handlers are not the program's business.
  bool set_up(int input, int output) {
    sigset_t none;
    sigset_t caught;
    sigemptyset(&none);
    sigfillset(&caught);
    sigdelset(&caught, SIGKILL);
    sigdelset(&caught, SIGSTOP);
    return ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                       POSIX_SPAWN_SETSIGDEF) == 0 &&
           ::posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
           ::posix_spawnattr_setsigdefault(&attributes, &caught) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions, input, 0) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions, output, 1) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions, output, 2) == 0 &&
           ::posix_spawn_file_actions_addclosefrom_np(&actions, 3) == 0 &&
           ::posix_spawn_file_actions_addchdir_np(&actions, "/") == 0;
  }

  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
};

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* folder = ::opendir(tasks.c_str());
  if (folder == nullptr) return children;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream list(tasks + "/" + std::string(entry->d_name) + "/children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  ::closedir(folder);
  return children;
}

bool host_is_short(int error) {
  return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

NotSpawned not_spawned(const std::string& what, int error) {
  return {system_error(what, error), host_is_short(error)};
}

// As execve wants them; they point into `texts`.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// A stopped parent cannot reap, so the numbers of its children stay theirs until they are killed.
void stop_tree(pid_t root, std::vector<pid_t>& found) {
  std::vector<pid_t> open{root};
  while (!open.empty() && found.size() < kMaxDescendants) {
    const pid_t pid = open.back();
    open.pop_back();
    ::kill(pid, SIGSTOP);
    for (const pid_t child : children_of(pid)) {
      found.push_back(child);
      open.push_back(child);
    }
  }
}

}  // namespace

std::variant<ChildProcess, NotSpawned> ChildProcess::spawn(const ProgramOrder& order) {
  CLUSTERD_ASSERT(!order.command.empty());
  Pipe input;
  Pipe output;
  SpawnPlan plan;
  if (!input.open(O_NONBLOCK) || !output.open(0)) return not_spawned("pipe", errno);
  const auto size = static_cast<ssize_t>(order.input.size());
  if (::write(input.write, order.input.data(), order.input.size()) != size) {
    return NotSpawned{"its options do not fit into a pipe"};
  }
  close_fd(input.write);
  // pipe2 made both ends non-blocking, but the program expects an ordinary standard input.
  ::fcntl(input.read, F_SETFL, 0);
  ::fcntl(output.read, F_SETFL, O_NONBLOCK);
  if (!plan.set_up(input.read, output.write)) {
    return NotSpawned{"it cannot be spawned: no memory", true};
  }
  std::vector<std::string> command = order.command;
  std::vector<std::string> environment = order.environment;
  ChildProcess process;
  const int error =
      ::posix_spawn(&process.pid_, command.front().c_str(), &plan.actions, &plan.attributes,
                    pointers(command).data(), pointers(environment).data());
  if (error != 0) {
    process.pid_ = -1;
    return not_spawned(command.front(), error);
  }
  process.output_ = std::exchange(output.read, -1);
  // glibc 2.36 declares pidfd_open without C linkage, so that C++ cannot link it.
  process.pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, process.pid_, 0U));
  // Without a descriptor it cannot be watched. It is killed at once; its ended descriptor set is
  // never readable, so that the caller's deadline tells that the outcome is unknown.
  if (process.pidfd_ < 0) process.kill_all();
  return process;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      output_(std::exchange(other.output_, -1)) {}

ChildProcess::~ChildProcess() {
  end(kPatience);
  close_fd(pidfd_);
  close_fd(output_);
}

void ChildProcess::read_output(const std::function<void(std::string_view)>& take) {
  std::array<char, 4096> buffer{};
  // Bounded: a program that prints faster than we read must not keep the caller here.
  for (int round = 0; round < 16 && output_ >= 0; ++round) {
    const ssize_t got = ::read(output_, buffer.data(), buffer.size());
    if (got > 0) {
      take({buffer.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      close_fd(output_);
    } else if (errno == EAGAIN) {
      break;
    }
  }
  explicit_bzero(buffer.data(), buffer.size());
}

void ChildProcess::kill_all() {
  CLUSTERD_ASSERT(pid_ > 0);
  std::vector<pid_t> descendants;
  stop_tree(pid_, descendants);
  ::kill(-pid_, SIGKILL);
  for (const pid_t pid : descendants) ::kill(pid, SIGKILL);
}

void ChildProcess::end(Duration patience) {
  if (pid_ <= 0) return;
  kill_all();
  pollfd ended{pidfd_, POLLIN, 0};
  const bool gone =
      pidfd_ >= 0 && ::poll(&ended, 1, static_cast<int>(patience.count())) == 1;
  ::waitpid(pid_, nullptr, gone ? 0 : WNOHANG);
  pid_ = -1;
}

ChildProcess::Ended ChildProcess::reap() {
  CLUSTERD_ASSERT(pid_ > 0);
  // Before the program is reaped its number cannot be another group's.
  ::kill(-pid_, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
  pid_ = -1;
  return {info.si_code != CLD_EXITED, info.si_status};
}

}  // namespace clusterd
