# SPDX-License-Identifier: Apache-2.0
# Tests of the project itself: its text, its headers, its package, the hardening of what it builds.
set(lint ${CMAKE_CURRENT_SOURCE_DIR}/lint)
find_program(PRAAS_CXX NAMES g++ c++ clang++)

function(praas_lint name)
  add_test(NAME lint.${name} COMMAND ${ARGN})
  set_tests_properties(lint.${name} PROPERTIES LABELS "lint;slow" SKIP_RETURN_CODE 77 TIMEOUT 900)
endfunction()

praas_lint(self_test ${lint}/self_test)
praas_lint(failures ${lint}/failures_test ${CMAKE_CTEST_COMMAND} ${CMAKE_CURRENT_SOURCE_DIR}/failures)
foreach(check folders libraries orders atomics licence lengths links words)
  praas_lint(${check} ${lint}/lint ${check} ${PROJECT_SOURCE_DIR})
endforeach()
praas_lint(checklist ${lint}/checklist ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
praas_lint(headers ${lint}/headers ${CMAKE_C_COMPILER} ${PRAAS_CXX} ${PROJECT_SOURCE_DIR})
praas_lint(format ${PROJECT_SOURCE_DIR}/cmake/format --check)
praas_lint(cppcheck ${lint}/cppcheck ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
praas_lint(tidy ${lint}/clang_tidy ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
set_tests_properties(lint.tidy PROPERTIES LABELS "lint;slow;full" TIMEOUT 1800)
add_custom_target(format COMMAND ${PROJECT_SOURCE_DIR}/cmake/format)

# Hardening is asked of release builds; sanitizers and coverage need other flags.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PRAAS_SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(weak_flags -O2 -w -fno-stack-protector -U_FORTIFY_SOURCE -fcf-protection=none
    -Wl,-z,norelro,-z,lazy,-z,execstack,-z,notext,--no-warn-rwx-segments)
  foreach(kind program library)
    set(form -fno-pie -no-pie)
    if(kind STREQUAL "library")
      set(form -fno-pic -mcmodel=large -shared)
    endif()
    add_custom_command(OUTPUT ${PRAAS_TEST_BIN}/weak_${kind} DEPENDS lint/weak.c
      COMMAND ${CMAKE_COMMAND} -E make_directory ${PRAAS_TEST_BIN}
      COMMAND ${CMAKE_C_COMPILER} ${lint}/weak.c ${weak_flags} ${form} -o ${PRAAS_TEST_BIN}/weak_${kind})
    list(APPEND weak ${PRAAS_TEST_BIN}/weak_${kind})
  endforeach()
  add_custom_target(praas_weak ALL DEPENDS ${weak})
  praas_lint(elf ${lint}/check_elf --list ${PROJECT_BINARY_DIR}/elf_files.txt)
  praas_lint(elf_refuses_weak ${lint}/check_elf --weak ${weak})
  if(TARGET praas_client AND TARGET praas AND TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker)
    praas_lint(package ${CMAKE_CURRENT_SOURCE_DIR}/package/run ${PROJECT_BINARY_DIR}
      ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER} ${PRAAS_CXX})
  endif()
endif()
