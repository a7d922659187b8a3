# SPDX-License-Identifier: Apache-2.0
# Each rule broken in a copy of the code, once: the simulator must see it. praas_mutants(TEST SCRIPT SECONDS ARGUMENT…)
function(praas_mutants name script seconds)
  if(NOT PRAAS_SANITIZE AND NOT PRAAS_COVERAGE AND NOT PRAAS_FUZZ)
    add_test(NAME ${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/sim/${script} ${ARGN})
    set_tests_properties(${name} PROPERTIES LABELS "model;slow" TIMEOUT ${seconds})
  endif()
endfunction()
# What those of the control service and the controllers are linked with.
set(sim_libraries $<TARGET_FILE:praas_control> $<TARGET_FILE:praas_controller> $<TARGET_FILE:praas_dataplane>
  $<TARGET_FILE:praas_store> $<TARGET_FILE:praas_redis> ${XXHASH_LINK_LIBRARIES} ${URING_LINK_LIBRARIES}
  ${HIREDIS_LINK_LIBRARIES} ${SSL_LINK_LIBRARIES} ${CRYPTO_LINK_LIBRARIES})

# The deterministic simulator: production state machines under virtual time and seeded faults.
add_library(praas_sim STATIC sim/check.c sim/check_life.c sim/control.c sim/instance.c
  sim/instance_life.c sim/instance_move.c sim/objects.c sim/outbox.c sim/plan.c sim/world.c)
praas_target(praas_sim)
target_link_libraries(praas_sim PUBLIC praas_control praas_controller praas_dataplane praas_store)
add_executable(praas-sim sim/main.c)
praas_target(praas-sim)
target_link_libraries(praas-sim PRIVATE praas_sim)
set_target_properties(praas-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})

set(seeds 40000)
if(PRAAS_SANITIZE OR PRAAS_COVERAGE)
  set(seeds 2000)
endif()
add_test(NAME sim.seeds COMMAND praas-sim --seeds ${seeds})
add_test(NAME sim.repeat COMMAND praas-sim --seeds 1000 --repeat)
set_tests_properties(sim.seeds sim.repeat PROPERTIES LABELS model TIMEOUT 300)
praas_mutants(sim.mutants mutants 900 ${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR} ${PRAAS_TEST_BIN}/mutants
  $<TARGET_OBJECTS:praas-sim> $<TARGET_FILE:praas_sim> ${sim_libraries})

# The reliable protocol over a bad network.
add_executable(praas-arq-sim sim/arq.c)
praas_target(praas-arq-sim)
target_link_libraries(praas-arq-sim PRIVATE praas_transport)
set_target_properties(praas-arq-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
set(arq_seeds 10000)
if(PRAAS_SANITIZE OR PRAAS_COVERAGE)
  set(arq_seeds 1000)
endif()
add_test(NAME sim.arq COMMAND praas-arq-sim --seeds ${arq_seeds})
set_tests_properties(sim.arq PROPERTIES LABELS model TIMEOUT 300)
praas_mutants(sim.arq.mutants arq_mutants 600 --seeds 5000 ${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR}
  ${PRAAS_TEST_BIN}/arq_mutants $<TARGET_OBJECTS:praas-arq-sim> $<TARGET_FILE:praas_transport> ${CRYPTO_LINK_LIBRARIES})

# Names, rollbacks and forks beside controllers that save and sweep: the code that does it, step by step.
add_library(praas_named_sim STATIC sim/named.c sim/named_store.c sim/named_world.c)
praas_target(praas_named_sim)
target_link_libraries(praas_named_sim PUBLIC praas_control praas_controller praas_dataplane praas_store)
add_executable(praas-named-sim sim/named_main.c)
praas_target(praas-named-sim)
target_link_libraries(praas-named-sim PRIVATE praas_named_sim)
set_target_properties(praas-named-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
set(named_seeds 10000)
set(named_twice 200)
if(PRAAS_SANITIZE OR PRAAS_COVERAGE)
  set(named_seeds 500)
endif()
if(PRAAS_SANITIZE MATCHES thread) # a fiber for each coroutine, and there are many
  set(named_seeds 50)
  set(named_twice 20)
endif()
add_test(NAME sim.named COMMAND praas-named-sim --seeds ${named_seeds})
add_test(NAME sim.named.repeat COMMAND praas-named-sim --seeds ${named_twice} --repeat)
set_tests_properties(sim.named sim.named.repeat PROPERTIES LABELS model TIMEOUT 300)
praas_mutants(sim.named.mutants named_mutants 600 --seeds 10000 ${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR}
  ${PRAAS_TEST_BIN}/named_mutants $<TARGET_OBJECTS:praas-named-sim> $<TARGET_FILE:praas_named_sim> ${sim_libraries})
