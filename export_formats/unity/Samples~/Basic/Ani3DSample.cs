using UnityEngine;

namespace Ani3D.Samples
{
    /// <summary>Put this on an empty GameObject and give it an imported avatar: it stands in front of the camera.</summary>
    public sealed class Ani3DSample : MonoBehaviour
    {
        public Ani3DAsset avatar;
        Ani3DPlayer player;

        void Start()
        {
            var figure = new GameObject(avatar.name);
            Transform view = Camera.main.transform;
            figure.transform.position = view.position + 2.5f * view.forward - 1.2f * Vector3.up;
            figure.transform.rotation = Quaternion.LookRotation(-Vector3.ProjectOnPlane(view.forward, Vector3.up));
            player = figure.AddComponent<Ani3DPlayer>();
            player.asset = avatar;
            player.PlayClip(avatar.ClipNames[0]);
        }

        void OnGUI()
        {
            player.residual = GUILayout.Toggle(player.residual, "Cloth and hair");
            player.detail = GUILayout.HorizontalSlider(player.detail, 0.01f, 1, GUILayout.Width(200));
            if (GUILayout.Button(player.play ? "Pause" : "Play")) player.play = !player.play;
            for (int i = 0; i < avatar.ClipNames.Length; i++)
                if (GUILayout.Button(avatar.ClipNames[i])) player.PlayClip(avatar.ClipNames[i]);
        }
    }
}
