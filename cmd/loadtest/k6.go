package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"gatehouse/cmd/program"
)

//go:embed script.js
var script []byte

// k6 has k6 make the load.
type k6 struct {
	*test
	cmd    *exec.Cmd
	stderr bytes.Buffer
	unhook func() bool
}

func (k *k6) path(name string) string { return filepath.Join(k.dir, name) }

func (k *k6) start(ctx context.Context) (int, error) {
	scene, err := json.Marshal(k.scene)
	if err != nil {
		return 0, fmt.Errorf("tell k6 of the programme: %w", err)
	}
	for name, body := range map[string][]byte{"script.js": script, "scene.json": scene} {
		if err := os.WriteFile(k.path(name), body, 0o600); err != nil {
			return 0, fmt.Errorf("write for k6: %w", err)
		}
	}
	args := []string{"run", "--quiet", "--no-usage-report"}
	for name, value := range map[string]string{
		"BASE": k.central.URL, "RATE": strconv.Itoa(k.rate), "WARMUP": fmt.Sprint(k.warmUp.Seconds()), "SECONDS": fmt.Sprint(k.duration.Seconds()),
		"SCENE": k.path("scene.json"), "OUT": k.path("summary.json"),
	} {
		args = append(args, "-e", name+"="+value)
	}
	k.cmd = program.Prepare(k.k6, append(args, k.path("script.js"))...)
	k.cmd.Stderr = &k.stderr
	if err := k.cmd.Start(); err != nil {
		return 0, fmt.Errorf("start k6: %w", err)
	}
	k.unhook = context.AfterFunc(ctx, func() { _ = k.cmd.Process.Signal(syscall.SIGKILL) }) // it may have ended by itself
	return k.cmd.Process.Pid, nil
}

func (k *k6) wait(context.Context) (answers, error) {
	defer k.unhook()
	err := k.cmd.Wait()
	if k.stderr.Len() > 0 {
		say("%s", bytes.TrimSpace(k.stderr.Bytes()))
	}
	if err != nil {
		return answers{}, fmt.Errorf("k6: %w", err)
	}
	raw, err := os.ReadFile(k.path("summary.json"))
	if err != nil {
		return answers{}, fmt.Errorf("summary of k6: %w", err)
	}
	out, err := readSummary(raw)
	out.Dropped = max(out.Dropped, int(float64(k.rate)*k.duration.Seconds())-out.made)
	return out, err
}

// summary is what handleSummary of k6 is given, as far as it is used.
type summary struct {
	Metrics map[string]struct {
		Values map[string]float64 `json:"values"`
	} `json:"metrics"`
}

func readSummary(raw []byte) (answers, error) {
	var s summary
	if err := json.Unmarshal(raw, &s); err != nil {
		return answers{}, fmt.Errorf("summary of k6: %w", err)
	}
	value := func(metric, name string) float64 { return s.Metrics[metric].Values[name] }
	out := answers{Dropped: int(value("dropped_iterations{phase:load}", "count")), made: int(value("iterations{phase:load}", "count"))}
	out.All = class{Name: "all"}
	for _, name := range append([]string{""}, classes()...) {
		tag := "{phase:load}"
		if name != "" {
			tag = "{phase:load,class:" + name + "}"
		}
		d := "http_req_duration" + tag
		c := class{
			Name: name, Count: int(value("answered"+tag, "count")),
			P50: value(d, "med"), P90: value(d, "p(90)"), P99: value(d, "p(99)"), Max: value(d, "max"),
		}
		if name == "" {
			c.Name, out.All = "all", c
			continue
		}
		out.Classes = append(out.Classes, c)
	}
	out.All.Name, out.Errors = "all", int(value("unexpected{phase:load}", "count"))
	if out.All.Count == 0 {
		return answers{}, fmt.Errorf("summary of k6: nothing was answered: %.300s", raw)
	}
	return out, nil
}
