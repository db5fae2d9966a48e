// Command lean is the rival that the benchmark's figures are ratios to: a webhook as lean as Go's standard library
// allows. It decodes only the fields that it looks at, in one pass, records its operations by hand, logs nothing,
// counts nothing and checks nothing: it does for the benchmark's pods what Pillion does, and nothing for others.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

type envVar struct {
	Name      string          `json:"name"`
	Value     string          `json:"value,omitempty"`
	ValueFrom json.RawMessage `json:"valueFrom,omitempty"`
}

type mount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	SubPath   string `json:"subPath,omitempty"`
}

type container struct {
	Name         string  `json:"name"`
	Env          []named `json:"env"`
	VolumeMounts []mount `json:"volumeMounts"`
}

type named struct {
	Name string `json:"name"`
}

type pod struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Containers     []container `json:"containers"`
		InitContainers []named     `json:"initContainers"`
		Volumes        []named     `json:"volumes"`
	} `json:"spec"`
}

type request struct {
	UID    string `json:"uid"`
	Object pod    `json:"object"`
}

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType,omitempty"`
	Patch     []byte `json:"patch,omitempty"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// sidecar is the container that is added; what is the same for every pod is read at the start.
type sidecar struct {
	Name            string          `json:"name"`
	Image           string          `json:"image"`
	RestartPolicy   string          `json:"restartPolicy"`
	Command         []string        `json:"command"`
	Args            []string        `json:"args"`
	Env             []envVar        `json:"env"`
	Resources       json.RawMessage `json:"resources"`
	SecurityContext json.RawMessage `json:"securityContext"`
	VolumeMounts    []mount         `json:"volumeMounts"`
}

type status struct {
	Profile    string   `json:"profile"`
	Revision   string   `json:"revision"`
	Sidecar    string   `json:"sidecar"`
	Containers []string `json:"containers"`
	Volumes    []string `json:"volumes"`
	Reused     []string `json:"reusedVolumes"`
}

const (
	prefix    = "pillion.dev/"
	logs      = "pillion-logs-1"
	state     = "pillion-state"
	noToken   = "pillion-no-token"
	evictable = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
)

var volumes = []string{logs, state, noToken}

type webhook struct {
	sidecar  sidecar
	revision string
	appEnv   []envVar
}

func (w *webhook) patch(p *pod) ([]byte, error) {
	annotations := p.Metadata.Annotations
	if annotations[prefix+"inject"] != "true" {
		return nil, nil
	}
	directory, pattern, ok := cutLast(annotations[prefix+"logs"], '/')
	if !ok {
		return nil, fmt.Errorf("%slogs is no path", prefix)
	}
	for _, c := range p.Spec.InitContainers {
		if c.Name == w.sidecar.Name {
			return nil, nil
		}
	}
	operations := make([]operation, 0, 3*len(p.Spec.Containers)+8)
	added := w.sidecar
	added.Args, added.VolumeMounts = nil, nil
	names := make([]string, len(p.Spec.Containers))
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		names[i] = c.Name
		pointer := fmt.Sprintf("/spec/containers/%d", i)
		operations = append(operations, w.variables(c, pointer)...)
		m := mount{Name: logs, MountPath: directory, SubPath: c.Name}
		if c.VolumeMounts == nil {
			operations = append(operations, operation{"add", pointer + "/volumeMounts", []mount{m}})
		} else {
			operations = append(operations, operation{"add", pointer + "/volumeMounts/-", m})
		}
		m.ReadOnly = true
		if i > 0 {
			m.MountPath = "/pillion/logs/" + c.Name
		}
		added.Args = append(added.Args, m.MountPath+"/"+pattern)
		added.VolumeMounts = append(added.VolumeMounts, m)
	}
	added.VolumeMounts = append(added.VolumeMounts, w.sidecar.VolumeMounts...)
	operations = append(operations, w.volumes(p)...)
	if p.Spec.InitContainers == nil {
		operations = append(operations, operation{"add", "/spec/initContainers", []sidecar{added}})
	} else {
		operations = append(operations, operation{"add", "/spec/initContainers/0", added})
	}
	note, err := json.Marshal(status{"tail", w.revision, added.Name, names, volumes, []string{}})
	if err != nil {
		return nil, err
	}
	operations = append(operations,
		operation{"add", "/metadata/annotations/" + token(evictable), strings.Join(volumes, ",")},
		operation{"add", "/metadata/annotations/" + token(prefix+"status"), string(note)})
	return json.Marshal(operations)
}

// variables puts those that the container lacks at the front of its own.
func (w *webhook) variables(c *container, pointer string) []operation {
	var lacking []envVar
	for _, variable := range w.appEnv {
		if !has(c.Env, variable.Name) {
			lacking = append(lacking, variable)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if c.Env == nil {
		return []operation{{"add", pointer + "/env", lacking}}
	}
	var operations []operation
	for i := len(lacking) - 1; i >= 0; i-- {
		operations = append(operations, operation{"add", pointer + "/env/0", lacking[i]})
	}
	return operations
}

func (w *webhook) volumes(p *pod) []operation {
	empty := func(limit string) any {
		if limit == "" {
			return map[string]any{}
		}
		return map[string]any{"sizeLimit": limit}
	}
	type volume struct {
		Name     string `json:"name"`
		EmptyDir any    `json:"emptyDir"`
	}
	all := []volume{{logs, empty("")}, {state, empty("16Mi")}, {noToken, empty("")}}
	if p.Spec.Volumes == nil {
		return []operation{{"add", "/spec/volumes", all}}
	}
	var operations []operation
	for _, v := range all {
		operations = append(operations, operation{"add", "/spec/volumes/-", v})
	}
	return operations
}

func has(variables []named, name string) bool {
	for i := range variables {
		if variables[i].Name == name {
			return true
		}
	}
	return false
}

func cutLast(text string, separator byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(text, separator); i > 0 {
		return text[:i], text[i+1:], true
	}
	return "", "", false
}

func token(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func (w *webhook) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, 7<<20))
	if err != nil {
		http.Error(out, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var asked review
	if err := json.Unmarshal(body, &asked); err != nil || asked.Request == nil {
		http.Error(out, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	answer := review{APIVersion: asked.APIVersion, Kind: asked.Kind, Response: &response{UID: asked.Request.UID, Allowed: true}}
	if patch, err := w.patch(&asked.Request.Object); err == nil && patch != nil {
		answer.Response.PatchType, answer.Response.Patch = "JSONPatch", patch
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.Write(text)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8443", "where to listen")
	certificate := flag.String("cert", "", "the certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	constants := flag.String("constants", "", "the sidecar's constant part, JSON")
	flag.Parse()
	text, err := os.ReadFile(*constants)
	if err != nil {
		log.Fatal(err)
	}
	var w webhook
	read := struct {
		Sidecar  *sidecar
		Revision *string
		AppEnv   *[]envVar
	}{&w.sidecar, &w.revision, &w.appEnv}
	if err := json.Unmarshal(text, &read); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /mutate", &w)
	log.Fatal(http.ListenAndServeTLS(*listen, *certificate, *key, mux))
}
