// Command generator sends one AdmissionReview again and again, as an API server does, and prints what it saw as JSON.
//
// Without -rate each connection sends its next request when it has the answer to the last: as many as the server can
// take. With -rate the requests are due at random times (exponential, the same for every server), whether or not a
// connection is free, and a latency counts from when the request was due: a server that stalls is charged for all who
// had to wait. With -hold the connections are opened, used once and kept until standard input ends.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// As many bytes the API server's HTTP client collects before it writes.
	writeBuffer = 4096
	warmUp      = 300 * time.Millisecond
	// Requests that may be due and wait for a connection: a minute of them, or it is no server.
	backlog = 60_000
)

type result struct {
	Requests    int     `json:"requests"`
	Seconds     float64 `json:"seconds"`
	CPUSeconds  float64 `json:"cpu_seconds"` // of the server
	P50         float64 `json:"p50"`
	P99         float64 `json:"p99"`
	LateP99     float64 `json:"late_p99"` // how late requests were handed to a connection: our own error
	CipherSuite string  `json:"cipher_suite"`
	AnswerBytes int     `json:"answer_bytes"`
}

type client struct {
	connection *tls.Conn
	reader     *bufio.Reader
	writer     *bufio.Writer
	head, body []byte
	answer     bytes.Buffer
	expected   []byte
}

func (c *client) review() error {
	c.writer.Write(c.head)
	c.writer.Write(c.body)
	if err := c.writer.Flush(); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(c.answer.Bytes(), c.expected) {
		return fmt.Errorf("status %d, without %s: %.300s", response.StatusCode, c.expected, c.answer.Bytes())
	}
	return nil
}

func dial(address string, roots *x509.CertPool, body []byte, expected string) *client {
	connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	if err != nil {
		log.Fatal(err)
	}
	head := fmt.Sprintf("POST /mutate?timeout=10s HTTP/1.1\r\nHost: pillion.pillion-system.svc:443\r\n"+
		"User-Agent: kube-apiserver-admission\r\nContent-Length: %d\r\nAccept: application/json, */*\r\n"+
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n", len(body))
	return &client{
		connection: connection, reader: bufio.NewReader(connection), writer: bufio.NewWriterSize(connection, writeBuffer),
		head: []byte(head), body: body, expected: []byte(expected),
	}
}

// cpu returns the processor time that a process has used, in seconds (proc(5): fields 14 and 15 of stat, in ticks).
func cpu(pid int) float64 {
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		log.Fatal(err)
	}
	// field 2 is the program's name, in parentheses, and may have anything in it
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

func percentile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[int(share*float64(len(sorted)-1))].Seconds()
}

// saturate keeps every connection busy until the time is over, and returns each answer's latency.
func saturate(clients []*client, end time.Time) []time.Duration {
	latencies := make([][]time.Duration, len(clients))
	var all sync.WaitGroup
	for number, c := range clients {
		all.Go(func() {
			for begin := time.Now(); begin.Before(end); begin = time.Now() {
				if err := c.review(); err != nil {
					log.Fatal(err)
				}
				latencies[number] = append(latencies[number], time.Since(begin))
			}
		})
	}
	all.Wait()
	return slices.Concat(latencies...)
}

// pace hands out requests when they are due; it returns latencies from then on, and how late each was handed out.
func pace(clients []*client, begin, end time.Time, rate float64, seed uint64) (latencies, late []time.Duration) {
	due := make(chan time.Time, backlog)
	parts := make([][]time.Duration, len(clients))
	var all sync.WaitGroup
	for number, c := range clients {
		all.Go(func() {
			for at := range due {
				if err := c.review(); err != nil {
					log.Fatal(err)
				}
				parts[number] = append(parts[number], time.Since(at))
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, 0))
	// A thread of its own that sleeps in the kernel: Go's timers have a grain of a millisecond where nothing else runs.
	runtime.LockOSThread()
	const prSetTimerSlack = 29 // prctl(2)
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	for at := begin; at.Before(end); at = at.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second))) {
		for wait := time.Until(at); wait > 0; wait = time.Until(at) {
			pause := syscall.NsecToTimespec(wait.Nanoseconds())
			syscall.Nanosleep(&pause, nil)
		}
		late = append(late, time.Since(at))
		due <- at
	}
	close(due)
	all.Wait()
	return slices.Concat(parts...), late
}

func main() {
	address := flag.String("address", "127.0.0.1:8443", "the server")
	ca := flag.String("ca", "", "the CA that it is trusted by, PEM")
	path := flag.String("body", "", "the AdmissionReview")
	expected := flag.String("expect", `"allowed":true`, "what each answer must have in it")
	connections := flag.Int("connections", 8, "connections that are kept open")
	rate := flag.Float64("rate", 0, "requests a second; 0: as many as can be")
	duration := flag.Duration("duration", 2*time.Second, "how long")
	pid := flag.Int("pid", 0, "the server's process, whose processor time is read")
	hold := flag.Bool("hold", false, "use each connection once, then keep it open until standard input ends")
	flag.Parse()

	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	body, err := os.ReadFile(*path)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// on one core, but a thread that sleeps must not hold up the others
	runtime.GOMAXPROCS(2)
	clients := make([]*client, *connections)
	for number := range clients {
		clients[number] = dial(*address, roots, body, *expected)
	}
	if *hold {
		for _, c := range clients {
			if err := c.review(); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println("open")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	saturate(clients, time.Now().Add(warmUp))
	var latencies, late []time.Duration
	used, begin := cpu(*pid), time.Now()
	if *rate > 0 {
		latencies, late = pace(clients, begin, begin.Add(*duration), *rate, 1)
	} else {
		latencies = saturate(clients, begin.Add(*duration))
	}
	seconds, used := time.Since(begin).Seconds(), cpu(*pid)-used
	slices.Sort(latencies)
	slices.Sort(late)
	seen := result{
		Requests: len(latencies), Seconds: seconds, CPUSeconds: used,
		P50: percentile(latencies, 0.5), P99: percentile(latencies, 0.99),
		CipherSuite: tls.CipherSuiteName(clients[0].connection.ConnectionState().CipherSuite),
		AnswerBytes: clients[0].answer.Len(),
	}
	if len(late) > 0 {
		seen.LateP99 = percentile(late, 0.99)
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}
