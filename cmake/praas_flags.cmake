# SPDX-License-Identifier: Apache-2.0
# Flags of every target of ours, through praas_target(). Hardening is checked on the ELF by a test.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG -g1")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3 -DPRAAS_CHECK_HOT=1")
# Only sanitizers are built so: lines are all they print, and a third of the compiler's time is saved. (Not libFuzzer:
# with -O1 clang counts no line of inline functions.)
if(NOT PRAAS_FUZZ)
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

add_library(praas_flags INTERFACE)
target_compile_definitions(praas_flags INTERFACE _GNU_SOURCE)
target_include_directories(praas_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_options(praas_flags INTERFACE
  -fvisibility=hidden -fno-common -fno-math-errno -fno-strict-aliasing
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wundef -Wvla -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings
  -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(praas_flags INTERFACE -Wlogical-op -Wduplicated-cond -Wduplicated-branches
    -Wjump-misses-init)
elseif(CMAKE_C_COMPILER_ID MATCHES "Clang")
  target_compile_options(praas_flags INTERFACE -Wcomma -Wassign-enum -Wloop-analysis)
endif()
if(PRAAS_WERROR)
  target_compile_options(praas_flags INTERFACE -Werror)
endif()

# Hardening
target_compile_options(praas_flags INTERFACE -fstack-protector-strong -fcf-protection=full
  -ftrivial-auto-var-init=zero)
if(CMAKE_C_COMPILER_ID MATCHES "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 16)
  target_compile_options(praas_flags INTERFACE # a formality of clang 8 to 15
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif()
target_link_options(praas_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  # The note that all code is fit for CET; Debian's start files have the code but not the note.
  target_link_options(praas_flags INTERFACE -Wl,-z,ibt,-z,shstk)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(praas_flags INTERFACE -frecord-gcc-switches) # read by tests/lint/check_elf
endif()
if(PRAAS_SANITIZE)
  target_compile_options(praas_flags INTERFACE -fsanitize=${PRAAS_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(praas_flags INTERFACE -fsanitize=${PRAAS_SANITIZE})
  target_compile_definitions(praas_flags INTERFACE PRAAS_CHECK_HOT=1)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(praas_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(PRAAS_COVERAGE)
  target_compile_options(praas_flags INTERFACE --coverage -O0)
  target_link_options(praas_flags INTERFACE --coverage)
endif()

# A call crosses four folders: the programs are optimised as a whole when they are linked (a fifth of
# its time, docs/rationale.md). Libraries hold plain code beside, for tests, which link faster so.
option(PRAAS_LTO "Optimise the programs at link time (GCC, release)" ON)
set(praas_lto FALSE)
if(PRAAS_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release"
   AND NOT PRAAS_SANITIZE AND NOT PRAAS_COVERAGE AND NOT PRAAS_FUZZ)
  set(praas_lto TRUE)
  target_link_options(praas_flags INTERFACE
    $<IF:$<BOOL:$<TARGET_PROPERTY:PRAAS_WHOLE>>,-flto=auto,-fno-lto>)
endif()

# For function libraries: an entry is called by its name alone, it needs no prototype.
add_library(praas_function_flags INTERFACE)
target_compile_options(praas_function_flags INTERFACE
  "SHELL:-Wno-missing-prototypes -Wno-missing-declarations") # one word: not merged with another

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

# Applies the flags to a target of ours. HOT: also -Wsign-conversion (folders on the hot path).
# WHOLE: a program or shared library that is optimised at link time.
function(praas_target name)
  cmake_parse_arguments(A "HOT;WHOLE" "" "" ${ARGN})
  target_link_libraries(${name} PRIVATE praas_flags)
  if(A_HOT)
    target_compile_options(${name} PRIVATE -Wsign-conversion)
  endif()
  get_target_property(type ${name} TYPE)
  set_target_properties(${name} PROPERTIES PRAAS_WHOLE "${A_WHOLE}")
  if(praas_lto AND A_WHOLE)
    target_compile_options(${name} PRIVATE -flto=auto)
  elseif(praas_lto AND type STREQUAL "STATIC_LIBRARY")
    target_compile_options(${name} PRIVATE -flto=auto -ffat-lto-objects)
  endif()
  if(type STREQUAL "MODULE_LIBRARY") # loaded by a worker: a library of functions
    target_link_libraries(${name} PRIVATE praas_function_flags)
  endif()
  if(PRAAS_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link -fprofile-instr-generate
      -fcoverage-mapping)
    target_link_options(${name} PRIVATE -fprofile-instr-generate)
  endif()
endfunction()
