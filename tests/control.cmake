# SPDX-License-Identifier: Apache-2.0
find_program(PRAAS_REDIS_SERVER redis-server REQUIRED)
praas_unit_test(records praas_control)
target_compile_definitions(test_records PRIVATE
  PRAAS_RECORDS_V1="${CMAKE_CURRENT_SOURCE_DIR}/unit/data/records-v1.db")
praas_unit_test(records_cache praas_control)
praas_unit_test(records_usage praas_control)
praas_unit_test(queue_store praas_control)
praas_unit_test(account praas_control)
praas_unit_test(functions praas_control)
praas_unit_test(control_parse praas_control)
praas_unit_test(memo praas_control)
praas_unit_test(records_same praas_control m)
praas_unit_test(records_redis praas_control)
target_sources(test_records_redis PRIVATE lib/cutting_proxy.c)
praas_unit_test(records_shared praas_control)
foreach(test records records_redis records_shared records_usage records_same queue_store memo)
  target_sources(test_${test} PRIVATE lib/redis_server.c)
  target_compile_definitions(test_${test} PRIVATE PRAAS_REDIS_SERVER="${PRAAS_REDIS_SERVER}")
endforeach()
praas_unit_test(place praas_control)
praas_unit_test(nodes praas_control)
praas_unit_test(ready praas_control)
praas_unit_test(launcher praas_control)
praas_unit_test(link praas_control)
praas_unit_test(replica praas_control)
praas_unit_test(idle praas_control)
praas_unit_test(balance praas_control)
praas_unit_test(checkpoint praas_control)
praas_unit_test(http_threads praas_control_rest)
praas_unit_test(call_result praas_control_rest)
target_sources(test_call_result PRIVATE lib/fake_client.c)
praas_unit_test(forged praas_control)
praas_unit_test(ownership praas_control)
praas_unit_test(audit praas_control)
praas_unit_test(say praas_control)
praas_unit_test(trace praas_control)
praas_unit_test(logs praas_control)
praas_fuzz_target(rest praas_control_rest)
target_sources(fuzz_rest PRIVATE lib/fake_client.c)
praas_fuzz_target(rest_body praas_control_rest)
target_sources(fuzz_rest_body PRIVATE lib/fake_client.c)
praas_fuzz_target(records praas_control)
set(praas_fuzz_files_redis control/records/records_redis_rows.c redis/reply.c redis/server.c redis/url.c)
praas_fuzz_target(redis praas_control)
praas_fuzz_target(link praas_control)

# The service with a double of libpraas and a double of the controller: every route, every fault.
add_executable(fake-controller lib/fake_controller.c)
praas_target(fake-controller)
target_link_libraries(fake-controller PRIVATE praas_store PkgConfig::JANSSON)
add_executable(praas-control-fake ../control/main.c lib/fake_client.c)
praas_target(praas-control-fake)
target_link_libraries(praas-control-fake PRIVATE praas_control_rest)
set_target_properties(fake-controller praas-control-fake PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
foreach(part rest wire watch faults sums deploy mail mailbox members limits)
  add_test(NAME control.${part}
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/${part}.py
      $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller>)
  set_tests_properties(control.${part} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()

add_test(NAME control.guard COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/lib/guard_test.py
  $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller>)
set_tests_properties(control.guard PROPERTIES TIMEOUT 300)

# Every route of the table with every kind of key.
add_executable(list-routes lib/list_routes.c lib/fake_client.c)
praas_target(list-routes)
target_link_libraries(list-routes PRIVATE praas_control_rest)
set_target_properties(list-routes PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
add_test(NAME control.access
  COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/access.py
    $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller> $<TARGET_FILE:list-routes>)
foreach(part openapi idempotency)
  add_test(NAME control.${part}
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/${part}.py
      $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller> $<TARGET_FILE:list-routes>)
  set_tests_properties(control.${part} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
set_tests_properties(control.access PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

if(TARGET praas)
  add_test(NAME control.tls
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/tls.py
      $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller> $<TARGET_FILE:praas>)
  set_tests_properties(control.tls PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endif()

# The service killed at each step of an operation, and started again. (A sanitizer wants to be
# loaded first.)
if(NOT PRAAS_SANITIZE)
  add_library(praas_crash_at MODULE lib/crash_at.c)
  praas_target(praas_crash_at)
  target_compile_options(praas_crash_at PRIVATE -fno-builtin -Wno-missing-prototypes)
  add_test(NAME control.crash
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/crash.py
      $<TARGET_FILE:praas-control-fake> $<TARGET_FILE:fake-controller> $<TARGET_FILE:praas_crash_at>)
  set_tests_properties(control.crash PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400)
endif()

# Connections to a process that lives on, broken by the test.
if(TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker AND TARGET praas_testfns)
  add_test(NAME control.broken
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/broken.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> $<TARGET_FILE:praas_testfns>)
  set_tests_properties(control.broken PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endif()

# The same with the real programs.
if(TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker)
  add_test(NAME control.e2e
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/e2e.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.e2e PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400) # many services, slow with a sanitizer
  add_test(NAME control.receive
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/receive.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.receive PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
  add_test(NAME control.redis
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/redis.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples ${PRAAS_REDIS_SERVER})
  set_tests_properties(control.redis PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180)
  add_test(NAME control.move
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/move.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns)
  set_tests_properties(control.move PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  add_test(NAME control.journal
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/journal.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns)
  add_test(NAME control.journal.moves
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/journal.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns moves)
  set_tests_properties(control.journal control.journal.moves PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  add_test(NAME control.peers
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/peers.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns
      ${PROJECT_BINARY_DIR}/examples/allreduce)
  set_tests_properties(control.peers PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  foreach(way shm tcp)
    add_test(NAME control.circles.${way}
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/circles.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns ${way})
    set_tests_properties(control.circles.${way} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
    add_test(NAME control.stages.${way}
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/stages.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns ${way})
    set_tests_properties(control.stages.${way} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endforeach()
  if(TARGET praas)
    add_test(NAME control.nodes
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/nodes.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns $<TARGET_FILE:praas>)
    set_tests_properties(control.nodes PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
    add_test(NAME control.drain
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/drain.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns $<TARGET_FILE:praas>)
    set_tests_properties(control.drain PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endif()
  add_test(NAME control.snapshots
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/snapshots.py
      $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.snapshots PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
  add_test(NAME control.checkpoint
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/checkpoint.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.checkpoint PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 180)
  add_test(NAME control.overflow
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/overflow.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns)
  set_tests_properties(control.overflow PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 600)
  if(TARGET praas)
    add_test(NAME control.sealed
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/sealed.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples $<TARGET_FILE:praas>)
    set_tests_properties(control.sealed PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 300)
    add_test(NAME control.collect
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/collect.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples $<TARGET_FILE:praas>)
    add_test(NAME control.collect.redis
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/collect.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples $<TARGET_FILE:praas> redis ${PRAAS_REDIS_SERVER})
    set_tests_properties(control.collect control.collect.redis PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 300)
    add_test(NAME control.deploy.real
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/deploy_real.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples $<TARGET_FILE:praas>)
    set_tests_properties(control.deploy.real PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
  endif()
  add_test(NAME control.usage
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/usage.py $<TARGET_FILE:praas-control>
      $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.usage PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180)
  if(TARGET praas)
    add_test(NAME control.functions
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/functions.py $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns $<TARGET_FILE:praas>)
    set_tests_properties(control.functions PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endif()
  add_test(NAME control.full
    COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/full.py
      $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(control.full PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  if(NOT PRAAS_SANITIZE)
    add_test(NAME control.cgroup2
      COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/control/cgroup2 $<TARGET_FILE:praas-control>
        $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/tests/faultfns)
    set_tests_properties(control.cgroup2 PROPERTIES LABELS full SKIP_RETURN_CODE 77 TIMEOUT 600
      RESOURCE_LOCK praas_vm)
    # The library is loaded by a program without a sanitizer.
    add_test(NAME control.connect
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/connect.py
        $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples
        ${PROJECT_BINARY_DIR}/lib/libpraas.so)
    set_tests_properties(control.connect PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
    add_test(NAME control.replicas
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/replicas.py
        $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples
        ${PRAAS_REDIS_SERVER} ${PROJECT_BINARY_DIR}/lib/libpraas.so)
    set_tests_properties(control.replicas PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400)
    add_test(NAME control.crash.real
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/crash.py
        $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller>
        $<TARGET_FILE:praas_crash_at> ${PROJECT_BINARY_DIR}/examples)
    set_tests_properties(control.crash.real PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endif()
endif()
