// Renders the Helm chart as `helm template` does, with Go's own templates and the same function library (sprig), for machines without helm.
//
//	go run render.go CHART [key=value ...] > manifests.yaml
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type files struct{ root string }

func (f files) Get(name string) string {
	content, err := os.ReadFile(filepath.Join(f.root, name))
	fail(err)
	return string(content)
}

func readYaml(path string) map[string]interface{} {
	content, err := os.ReadFile(path)
	fail(err)
	values := map[string]interface{}{}
	fail(yaml.Unmarshal(content, &values))
	return values
}

func toYaml(v interface{}) string {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	fail(encoder.Encode(v))
	return strings.TrimSuffix(out.String(), "\n")
}

// As `helm template --set key=value`.
func set(values map[string]interface{}, assignment string) {
	key, text, _ := strings.Cut(assignment, "=")
	var value interface{} = text
	if number, err := strconv.Atoi(text); err == nil {
		value = number
	} else if flag, err := strconv.ParseBool(text); err == nil {
		value = flag
	}
	path := strings.Split(key, ".")
	for _, name := range path[:len(path)-1] {
		values = values[name].(map[string]interface{})
	}
	values[path[len(path)-1]] = value
}

func main() {
	root := os.Args[1]
	values := readYaml(filepath.Join(root, "values.yaml"))
	for _, assignment := range os.Args[2:] {
		set(values, assignment)
	}
	meta := readYaml(filepath.Join(root, "Chart.yaml"))
	chart := map[string]interface{}{"Name": meta["name"], "Version": meta["version"], "AppVersion": meta["appVersion"]}
	all := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = toYaml
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	all.Funcs(functions)
	var names []string
	fail(filepath.Walk(filepath.Join(root, "templates"), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			content, readError := os.ReadFile(path)
			fail(readError)
			_, parseError := all.New(path).Parse(string(content))
			fail(parseError)
			if strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, "NOTES.txt") {
				names = append(names, path)
			}
		}
		return err
	}))
	sort.Strings(names)
	data := map[string]interface{}{
		"Values": values, "Chart": chart, "Files": files{root},
		"Release": map[string]interface{}{"Name": "davit", "Namespace": "default", "Service": "Helm", "IsInstall": true, "Revision": 1},
	}
	for _, name := range names {
		var out bytes.Buffer
		fail(all.ExecuteTemplate(&out, name, data))
		if strings.HasSuffix(name, "NOTES.txt") {
			fmt.Fprintln(os.Stderr, out.String())
		} else if strings.TrimSpace(out.String()) != "" {
			fmt.Printf("---\n# %s\n%s\n", filepath.Base(name), strings.TrimSpace(out.String()))
		}
	}
}
