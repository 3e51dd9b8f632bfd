# Warnings, sanitizers and the compiler cache, as the target `clusterd_options` that all code of
# ours links.

add_library(clusterd_options INTERFACE)
target_include_directories(clusterd_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(clusterd_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wswitch -Wnon-virtual-dtor -Wold-style-cast
  # Designated initialisers leave the other fields at their defaults; that is what they are for.
  -Wno-missing-field-initializers)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside the standard library when optimising (variant, optional, string).
  target_compile_options(clusterd_options INTERFACE
    -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-dangling-pointer)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # It also reports a capture of `this` that only an empty pack of members leaves unused.
  target_compile_options(clusterd_options INTERFACE -Wno-unused-lambda-capture)
endif()

if(CLUSTERD_WERROR)
  target_compile_options(clusterd_options INTERFACE -Werror)
endif()

if(CLUSTERD_SANITIZE)
  set(flags -fsanitize=${CLUSTERD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(clusterd_options INTERFACE ${flags})
  target_link_options(clusterd_options INTERFACE ${flags})
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # A precompiled header needs this sloppiness, or ccache refuses every file that uses one.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env
    "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
    ${CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(clusterd_options INTERFACE -fpch-preprocess)
  endif()
endif()
