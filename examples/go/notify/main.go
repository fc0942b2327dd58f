// Command notify sends a notification: notify USER_ID TITLE MESSAGE [info|warning|error|success].
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const timeout = 10 * time.Second

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: notify USER_ID TITLE MESSAGE [info|warning|error|success]")
	}
	answer, err := notify(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}

// notify sends one notification and returns the answer; it is an error if Hermes rejects it.
func notify(args []string) (string, error) {
	notification := map[string]string{"user_id": args[0], "title": args[1], "message": args[2], "type": "info"}
	if len(args) > 3 {
		notification["type"] = args[3]
	}
	body, err := json.Marshal(notification)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodPost, apiURL()+"/notify", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	key, err := apiKey()
	if err != nil {
		return "", err
	}
	request.Header.Set("X-API-Key", key)
	request.Header.Set("Content-Type", "application/json")
	return send(request)
}

func send(request *http.Request) (string, error) {
	client := http.Client{Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, answer)
	}
	return string(answer), nil
}

func apiURL() string {
	return cmp.Or(os.Getenv("HERMES_API_URL"), "http://127.0.0.1:8080")
}

// apiKey returns the first key of the file.
func apiKey() (string, error) {
	home, _ := os.UserHomeDir()
	path := cmp.Or(os.Getenv("HERMES_API_KEY_FILE"), filepath.Join(home, ".local/state/hermes/api-key"))
	text, err := os.ReadFile(path)
	key, _, _ := strings.Cut(string(text), "\n")
	return key, err
}
