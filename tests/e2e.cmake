# SPDX-License-Identifier: Apache-2.0
# Faults, sizes and counts on the real programs: control service, controller, workers, libpraas.
if(TARGET praas-controller AND TARGET praas-worker AND TARGET praas_client)
  add_library(praas_faultfns MODULE lib/faultfns/faultfns.c lib/faultfns/relay.c lib/faultfns/heap.c)
  praas_target(praas_faultfns)
  target_compile_options(praas_faultfns PRIVATE -Wno-missing-prototypes)
  set_target_properties(praas_faultfns PROPERTIES PREFIX "" OUTPUT_NAME faultfns
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/faultfns)
  configure_file(lib/faultfns/praas.json ${PROJECT_BINARY_DIR}/tests/faultfns/praas.json COPYONLY)

  # praas_e2e_test(NAME ISOLATION…): tests/e2e/test_NAME.c, once for each isolation.
  function(praas_e2e_test name)
    add_executable(e2e_${name} e2e/test_${name}.c)
    praas_target(e2e_${name})
    target_link_libraries(e2e_${name} PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON praas_client
      praas_ticket)
    set_target_properties(e2e_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
    add_dependencies(e2e_${name} praas-controller praas-worker praas_faultfns)
    foreach(isolation ${ARGN})
      add_test(NAME e2e.${name}.${isolation} COMMAND ${praas_guard} $<TARGET_FILE:e2e_${name}> $<TARGET_FILE:praas-controller>
        $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/faultfns ${isolation})
      set_tests_properties(e2e.${name}.${isolation} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400)
    endforeach()
  endfunction()

  praas_e2e_test(sizes inline worker)
  add_test(NAME e2e.sizes_huge.worker COMMAND e2e_sizes $<TARGET_FILE:praas-controller>
    $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/faultfns worker huge)
  set_tests_properties(e2e.sizes_huge.worker PROPERTIES LABELS "slow;release" TIMEOUT 600
    RESOURCE_LOCK memory)
  if(FABRIC_FOUND)
    foreach(isolation inline worker)
      foreach(provider net tcp)
        add_test(NAME e2e.sizes_ofi.${provider}.${isolation} COMMAND e2e_sizes $<TARGET_FILE:praas-controller>
          $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/faultfns ${isolation} ofi ofi://${provider}@127.0.0.1:0)
      endforeach()
      add_test(NAME e2e.sizes_ofi.shm.${isolation} COMMAND e2e_sizes $<TARGET_FILE:praas-controller>
        $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/faultfns ${isolation} ofi ofi://shm@0)
      foreach(provider net tcp shm)
        # libfabric is not instrumented (slow: not under ThreadSanitizer), and its provider net leaks.
        set_tests_properties(e2e.sizes_ofi.${provider}.${isolation} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400
          LABELS slow ENVIRONMENT LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lib/lsan.supp)
      endforeach()
      # What differs between providers is libfabric's own: one of them is enough where each takes half a minute.
      set_tests_properties(e2e.sizes_ofi.net.${isolation} e2e.sizes_ofi.shm.${isolation} PROPERTIES LABELS "slow;notsan")
    endforeach()
  endif()
  if(VERBS_FOUND) # and which of them are copied
    praas_vm_test(e2e.sizes_verbs.worker vm -- $<TARGET_FILE:e2e_sizes> $<TARGET_FILE:praas-controller>
      $<TARGET_FILE:praas-worker> ${PROJECT_BINARY_DIR}/tests/faultfns worker verbs verbs://10.99.0.1:0)
    set_property(TEST e2e.sizes_verbs.worker APPEND PROPERTY LABELS notsan) # emulated: minutes
  endif()
  praas_e2e_test(worker_faults worker)
  # Many minutes under ThreadSanitizer on two cores; what they run concurrently is in unit.worker.
  if(PRAAS_SANITIZE STREQUAL "thread")
    set_tests_properties(e2e.sizes.inline e2e.sizes.worker e2e.worker_faults.worker
      PROPERTIES LABELS slow)
  endif()
  praas_e2e_test(places inline worker)
  praas_e2e_test(timing inline worker)
  praas_e2e_test(traces inline worker)
  praas_e2e_test(concurrent worker)
  praas_e2e_test(hot inline worker)
  praas_e2e_test(steady inline worker)
  add_library(praas_count_alloc MODULE lib/count_alloc.c)
  praas_target(praas_count_alloc)
  target_compile_options(praas_count_alloc PRIVATE -fno-builtin -Wno-missing-prototypes)
  add_executable(counted-worker lib/counted_worker.c)
  praas_target(counted-worker)
  set_target_properties(counted-worker PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  foreach(target counted-worker e2e_steady)
    target_compile_definitions(${target} PRIVATE
      PRAAS_TEST_PRELOAD="$<TARGET_FILE:praas_count_alloc>"
      PRAAS_TEST_WORKER="$<TARGET_FILE:praas-worker>"
      PRAAS_TEST_COUNTED_WORKER="$<TARGET_FILE:counted-worker>"
      PRAAS_TEST_WORKER_COUNT="${PROJECT_BINARY_DIR}/tests/worker.allocations")
  endforeach()
  add_dependencies(e2e_steady counted-worker praas_count_alloc)
  set_tests_properties(e2e.steady.inline e2e.steady.worker PROPERTIES RUN_SERIAL ON)
  praas_e2e_test(tickets inline)
  target_link_libraries(e2e_tickets PRIVATE praas_transport)
endif()

if(TARGET praas AND TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker)
  add_test(NAME e2e.faults COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/faults.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples
    $<TARGET_FILE:praas>)
  set_tests_properties(e2e.faults PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400)
  add_test(NAME e2e.triggers COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/triggers.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples
    $<TARGET_FILE:praas>)
  set_tests_properties(e2e.triggers PROPERTIES TIMEOUT 300)
endif()

if(TARGET praas-perf AND TARGET praas-control AND NOT PRAAS_SANITIZE)
  add_test(NAME e2e.interrupted COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/interrupted.py ${PROJECT_BINARY_DIR})
  set_tests_properties(e2e.interrupted PROPERTIES TIMEOUT 300)
endif()
