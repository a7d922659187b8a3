# SPDX-License-Identifier: Apache-2.0
# Workers: the test functions, and tests that start real praas-worker processes.
if(TARGET praas-worker)
  foreach(lib testfns nestfns hostile)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/lib/${lib}.c)
      add_library(praas_${lib} MODULE lib/${lib}.c)
      praas_target(praas_${lib})
      target_compile_options(praas_${lib} PRIVATE -Wno-missing-prototypes)
      set_target_properties(praas_${lib} PROPERTIES PREFIX "" OUTPUT_NAME ${lib}
        LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/code)
    endif()
  endforeach()

  function(praas_worker_test name library)
    set(memory 67108864)
    if(PRAAS_SANITIZE)
      set(memory 268435456)
    endif()
    praas_unit_test(${name} praas_controller praas_dataplane praas_shm)
    target_include_directories(test_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_definitions(test_${name} PRIVATE
      PRAAS_TEST_WORKER="$<TARGET_FILE:praas-worker>"
      PRAAS_TEST_CODE="${PROJECT_BINARY_DIR}/tests/code"
      PRAAS_TEST_FUNCTIONS="$<TARGET_FILE:praas_${library}>"
      # Sanitizers take memory of their own.
      PRAAS_TEST_MEMORY=${memory})
    add_dependencies(test_${name} praas-worker praas_${library})
    set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120)
  endfunction()

  praas_worker_test(worker testfns)
  praas_worker_test(worker_nested nestfns)
  praas_worker_test(worker_counts nestfns)
  praas_worker_test(worker_ahead testfns)

  # The suite of all executors, with workers.
  target_link_libraries(executor_conformance PRIVATE praas_controller)
  target_compile_definitions(executor_conformance PRIVATE
    PRAAS_TEST_WORKER="$<TARGET_FILE:praas-worker>" PRAAS_TEST_CODE="${PRAAS_TEST_BIN}")
  add_dependencies(executor_conformance praas-worker)
  add_test(NAME conformance.executor.worker COMMAND executor_conformance worker)
  set_tests_properties(conformance.executor.worker PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

  # The direct path, with the real controller and the real library.
  if(TARGET praas-controller AND TARGET praas_client_static)
    configure_file(lib/testfns.json ${PROJECT_BINARY_DIR}/tests/code/praas.json COPYONLY)
    add_executable(e2e_direct e2e/test_direct.c)
    praas_target(e2e_direct)
    target_link_libraries(e2e_direct PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON
      praas_client_static praas_ticket)
    target_include_directories(e2e_direct PRIVATE ${PROJECT_SOURCE_DIR})
    set_target_properties(e2e_direct PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
    add_dependencies(e2e_direct praas-controller praas-worker praas_testfns)
    foreach(speed fast slow)
      add_test(NAME e2e.direct.${speed} COMMAND e2e_direct $<TARGET_FILE:praas-controller>
        $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/code ${speed})
      set_tests_properties(e2e.direct.${speed} PROPERTIES TIMEOUT 120)
    endforeach()
    set_tests_properties(e2e.direct.slow PROPERTIES LABELS slow)
    add_executable(e2e_checkpoint e2e/test_checkpoint.c)
    praas_target(e2e_checkpoint)
    target_link_libraries(e2e_checkpoint PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON
      praas_client_static praas_ticket)
    target_include_directories(e2e_checkpoint PRIVATE ${PROJECT_SOURCE_DIR})
    set_target_properties(e2e_checkpoint PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
    add_dependencies(e2e_checkpoint praas-controller praas-worker praas_testfns)
    add_test(NAME e2e.checkpoint COMMAND e2e_checkpoint $<TARGET_FILE:praas-controller>
      $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/code)
    set_tests_properties(e2e.checkpoint PROPERTIES TIMEOUT 120)
  endif()

  # The escape suite: as root, and as an ordinary user.
  target_compile_definitions(praas_hostile PRIVATE
    PRAAS_HOSTILE_CODE="${PROJECT_BINARY_DIR}/tests/code")
  praas_worker_test(sandbox hostile)
  if(PRAAS_SANITIZE)
    target_compile_definitions(test_sandbox PRIVATE PRAAS_SANITIZED=1)
  endif()
  add_test(NAME unit.sandbox-user COMMAND test_sandbox user)
  set_tests_properties(unit.sandbox-user PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endif()
