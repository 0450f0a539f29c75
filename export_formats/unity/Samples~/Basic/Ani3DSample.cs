using System.Collections.Generic;
using UnityEngine;

namespace Ani3D.Samples
{
    /// <summary>
    /// Put this on an empty GameObject and give it an imported avatar: people stand in front of the camera, each at its
    /// own moment, and the buttons fade between the avatar's clips.
    /// </summary>
    public sealed class Ani3DSample : MonoBehaviour
    {
        public Ani3DAsset avatar;
        [Range(1, 9)] public int people = 1;
        public float fadeSeconds = 0.4f;

        readonly List<Ani3DPlayer> players = new List<Ani3DPlayer>();
        int clip;

        void Start()
        {
            for (int i = 0; i < people; i++) players.Add(Spawn(i));
        }

        /// <summary>All that a game needs: a GameObject, the component, the asset.</summary>
        Ani3DPlayer Spawn(int i)
        {
            Transform view = Camera.main.transform;
            var figure = new GameObject($"{avatar.name} {i}");
            Vector3 ahead = Vector3.ProjectOnPlane(view.forward, Vector3.up).normalized;
            figure.transform.SetPositionAndRotation(
                view.position + (2.5f + i / 3) * ahead + (i % 3 - Mathf.Min(people - 1, 2) / 2f) * view.right - 1.2f * Vector3.up,
                Quaternion.LookRotation(-ahead));
            var player = figure.AddComponent<Ani3DPlayer>();
            player.asset = avatar;
            player.rootMotion = false;
            player.time = 0.37f * i;
            return player;
        }

        void OnGUI()
        {
            for (int i = 0; i < avatar.ClipNames.Length; i++)
            {
                if (!GUILayout.Toggle(clip == i, avatar.ClipNames[i]) || clip == i) continue;
                clip = i;
                foreach (Ani3DPlayer player in players) player.PlayClip(i, fadeSeconds);
            }
            Ani3DPlayer first = players[0];
            bool play = GUILayout.Toggle(first.play, "Play"), residual = GUILayout.Toggle(first.residual, "Cloth and hair");
            float detail = GUILayout.HorizontalSlider(first.detail, 0.01f, 1, GUILayout.Width(200));
            foreach (Ani3DPlayer player in players)
            {
                player.play = play;
                player.residual = residual;
                player.detail = detail;
            }
        }
    }
}
