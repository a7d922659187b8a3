/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of shm/ring.h, every interleaving of its loads and stores. Accesses that the code's
 * memory orders leave unordered are taken in every order here, so that a weakened order is a
 * choice more (the mutants). Two words stand for the descriptor's seven.
 *
 * Holds: messages arrive whole, once, in order; an honest peer is never told -EPROTO; all arrive.
 *
 * MUTANT WEAK_R0     the sequence number may be visible before the words
 * MUTANT WEAK_A0     a word may be read before the sequence number
 * MUTANT WEAK_R1     the tail may be visible before the words were read
 * MUTANT WEAK_A1     a word may be written before the tail was looked at
 * MUTANT FULL_LATE   the full test is off by one
 * MUTANT NO_REFRESH  a full ring is never looked at again
 * MUTANT SEQ_PARITY  the slot holds a flag instead of a number: laps look alike
 * MUTANT NO_PUBLISH  the consumer tells its position every second lap only
 */
#define SLOTS 3
#define MESSAGES 8
#ifdef NO_PUBLISH
#define STEP (2 * SLOTS)
#else
#define STEP 1
#endif
#ifdef FULL_LATE
#define FULL (head - seen > SLOTS)
#else
#define FULL (head - seen >= SLOTS)
#endif
#ifdef SEQ_PARITY
#define SEQ(n) 1
#else
#define SEQ(n) ((n) + 1)
#endif

byte seq[SLOTS], word0[SLOTS], word1[SLOTS]; /* the producer's segment */
byte tail;                                   /* the consumer's */
bit delivered;

proctype producer()
{
	byte head = 0, seen = 0, t;
	bit w0, w1;

	do
	:: head < MESSAGES ->
		w0 = 0;
		w1 = 0;
#ifdef WEAK_A1
		if
		:: word0[head % SLOTS] = head + 1; w0 = 1
		:: skip
		fi;
#endif
		do
		:: FULL ->
#ifdef NO_REFRESH
			skip /* tries again, knowing no more */
#else
			t = tail;
			assert(t >= seen && t <= head); /* else an honest consumer is -EPROTO */
			seen = t
#endif
		:: !FULL -> break
		od;
		do
		:: !w0 -> word0[head % SLOTS] = head + 1; w0 = 1
		:: !w1 -> word1[head % SLOTS] = head + 1; w1 = 1
#ifdef WEAK_R0
		:: seq[head % SLOTS] != SEQ(head) -> seq[head % SLOTS] = SEQ(head)
#endif
		:: w0 && w1 -> break
		od;
		seq[head % SLOTS] = SEQ(head);
		head++
	:: head == MESSAGES -> break
	od
}

proctype consumer()
{
	byte next = 0, published = 0, s, a, b;
	bit early;

	do
	:: next < MESSAGES ->
		early = 0;
#ifdef WEAK_A0
		if
		:: b = word1[next % SLOTS]; early = 1
		:: skip
		fi;
#endif
		s = seq[next % SLOTS];
		if
		:: s == SEQ(next) ->
#ifdef WEAK_R1
			if
			:: tail = next + 1
			:: skip
			fi;
#endif
			if
			:: a = word0[next % SLOTS];
				if
				:: !early -> b = word1[next % SLOTS]
				:: early
				fi
			:: !early -> b = word1[next % SLOTS]; a = word0[next % SLOTS]
			fi;
			assert(a == next + 1 && b == next + 1);
			next++;
			if
			:: next - published >= STEP -> tail = next; published = next
			:: else
			fi
		:: else -> /* empty: the last lap's number, or 0 */
			assert(s == (next < SLOTS -> 0 : next - SLOTS + 1))
		fi
	:: next == MESSAGES -> break
	od;
	delivered = 1
}

init
{
	atomic {
		run producer();
		run consumer()
	}
}

/* Under weak fairness everything is delivered: polling loops cannot hide a stuck ring. */
ltl all_arrive { <> delivered }
